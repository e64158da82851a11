-- Excursions of the last full month, for the meeting with the responsible person.
-- Owner: Hester Lindqvist. Runs against the read copy (firn_read), never against the live database: it scans a month.
--
-- How to read the result
--   One row per parcel, not per puck. A parcel with two pucks counts as warm when EITHER of them was.
--   "minutes_out" is the longest single stretch outside the lane. Stretches are not added up, because ten short door openings are not
--   one long failure.
--   Parcels that were on hold and later released by the responsible person stay in the list, with the release in the last column.

WITH bounds AS (
    SELECT date_trunc('month', now()) - interval '1 month' AS first_day,
           date_trunc('month', now())                      AS last_day
),

-- Readings come in late and more than once. The newest version of a reading wins.
readings AS (
    SELECT DISTINCT ON (r.puck, r.taken_at)
           r.puck, r.taken_at, r.celsius, r.parcel
    FROM   firn_read.reading r, bounds b
    WHERE  r.taken_at >= b.first_day AND r.taken_at < b.last_day
    ORDER  BY r.puck, r.taken_at, r.received_at DESC
),

-- Gaps and islands: consecutive readings outside the limits get the same stretch number.
stretches AS (
    SELECT parcel, puck, taken_at, celsius, outside,
           count(*) FILTER (WHERE NOT outside) OVER (PARTITION BY puck ORDER BY taken_at) AS stretch
    FROM (
        SELECT r.*, r.celsius < l.minimum_celsius OR r.celsius > l.maximum_celsius AS outside
        FROM   readings r
        JOIN   firn_read.parcel p ON p.id = r.parcel
        JOIN   firn_read.lane   l ON l.name = p.lane
    ) flagged
),

longest AS (
    SELECT parcel,
           max(minutes) AS minutes_out,
           max(warmest) AS warmest
    FROM (
        SELECT parcel, puck, stretch,
               extract(epoch FROM max(taken_at) - min(taken_at)) / 60 AS minutes,
               max(celsius)                                           AS warmest
        FROM   stretches
        WHERE  outside
        GROUP  BY parcel, puck, stretch
    ) each_stretch
    GROUP BY parcel
)

SELECT p.id, p.customer, p.lane, round(x.minutes_out) AS minutes_out, x.warmest, h.released_by
FROM   longest x
JOIN   firn_read.parcel p      ON p.id = x.parcel
JOIN   firn_read.lane   l      ON l.name = p.lane
LEFT   JOIN firn_read.hold h   ON h.parcel = p.id
WHERE  x.minutes_out > l.grace_minutes
ORDER  BY x.minutes_out DESC;
