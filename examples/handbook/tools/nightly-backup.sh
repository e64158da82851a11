#!/usr/bin/env bash
# Nightly backup of all databases into Larder. Owner: Platform. Started by the scheduler in Leith at 00:40 UTC.
#
# UTC on purpose: in October 2025 the clocks went back, the job saw that "tonight's" archive existed, and skipped two nights.
#
# Order matters. Glaze first, because finance may start a run at any hour and a copy from the middle of a run is hard to explain
# to an auditor. Floe last, because it is the largest and may be cut short by the retention job at 02:20.
set -euo pipefail

databases=(glaze frazil firn floe)
scratch=/var/tmp/larder
night=$(date -u +%Y-%m-%d)
least_free_gb=180

free_gb() {
    df --output=avail -BG "$scratch" | tail -n 1 | tr -dc '0-9'
}

# A full scratch disk produces an archive that looks fine until somebody restores it. Refuse instead.
if (( $(free_gb) < least_free_gb )); then
    watch-page --severity 2 "Larder: less than ${least_free_gb} GB free in ${scratch}; tonight's backup did not start"
    exit 75
fi

for database in "${databases[@]}"; do
    if larder has "$database" --night "$night"; then
        echo "$database: already archived tonight"
        continue
    fi
    # Twelve megabytes a second keeps the line to Bremerhaven usable for the night shift's scanners.
    larder archive "$database" --night "$night" --scratch "$scratch" --limit-rate 12M
    larder verify "$database" --night "$night" --sample 0.02
done

# One missed night is a ticket, two are a page; larder counts them.
larder report --night "$night" --missed-ticket 1 --missed-page 2
