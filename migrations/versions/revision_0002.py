"""Records of the keys that indexing runs of frameworks have written."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "index_records",
        sa.Column("namespace", WORDS, nullable=False),
        sa.Column("key", WORDS, nullable=False),
        sa.Column("group_id", WORDS),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "key", name="pk_index_records"),
    )
    op.create_index("ix_index_records_namespace_updated_at", "index_records", ["namespace", "updated_at"])
    op.create_index("ix_index_records_namespace_group_id", "index_records", ["namespace", "group_id"])


def downgrade() -> None:
    op.drop_table("index_records")
