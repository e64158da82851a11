"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

# Types are spelled out here, not imported: a migration says what the tables were at its time.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
MOMENT = sa.DateTime(timezone=True)
CHOICE = sa.String(16)
HASH = sa.String(64)


def upgrade() -> None:
    _spaces_and_collections()
    _documents_and_versions()
    _chunks()
    _runs_and_failures()


def downgrade() -> None:
    for table in ("failures", "runs", "chunks", "document_versions", "documents", "collections", "embedding_spaces"):
        op.drop_table(table)


def _spaces_and_collections() -> None:
    op.create_table(
        "embedding_spaces",
        sa.Column("id", KEY, nullable=False),
        sa.Column("fingerprint", HASH, nullable=False),
        sa.Column("model", WORDS, nullable=False),
        sa.Column("revision", WORDS, nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("template", WORDS, nullable=False),
        sa.Column("pooling", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_embedding_spaces"),
        sa.UniqueConstraint("fingerprint", "model", name="uq_embedding_spaces_fingerprint_model"),
    )
    op.create_table(
        "collections",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", WORDS, nullable=False),
        sa.Column("embedding_space", KEY, nullable=False),
        sa.Column("reranker", WORDS),
        sa.Column("chunking", WORDS),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collections"),
        sa.UniqueConstraint("name", name="uq_collections_name"),
        sa.ForeignKeyConstraint(["embedding_space"], ["embedding_spaces.id"], name="fk_collections_embedding_space"),
    )
    op.create_index("ix_collections_embedding_space", "collections", ["embedding_space"])


def _documents_and_versions() -> None:
    op.create_table(
        "documents",
        sa.Column("id", KEY, nullable=False),
        sa.Column("collection", KEY, nullable=False),
        sa.Column("document_id", WORDS, nullable=False),
        sa.Column("status", CHOICE, nullable=False),
        sa.Column("current_version", sa.Integer()),
        sa.Column("pending_version", sa.Integer()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_documents"),
        sa.UniqueConstraint("collection", "document_id", name="uq_documents_collection_document_id"),
        sa.ForeignKeyConstraint(["collection"], ["collections.id"], name="fk_documents_collection", ondelete="CASCADE"),
    )
    op.create_table(
        "document_versions",
        sa.Column("document", KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("source", WORDS),
        sa.Column("root", WORDS),
        sa.Column("title", WORDS),
        sa.Column("content_hash", HASH, nullable=False),
        sa.Column("settings_hash", HASH, nullable=False),
        sa.Column("record_hash", HASH, nullable=False),
        sa.Column("language", WORDS),
        sa.Column("tenant", WORDS),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("document", "version", name="pk_document_versions"),
        sa.ForeignKeyConstraint(["document"], ["documents.id"], name="fk_document_versions_document", ondelete="CASCADE"),
    )


def _chunks() -> None:
    op.create_table(
        "chunks",
        sa.Column("document", KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("point_id", sa.String(36), nullable=False),
        sa.Column("content_hash", HASH, nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("headings", sa.JSON(), nullable=False),
        sa.Column("payload_hash", HASH, nullable=False),
        sa.PrimaryKeyConstraint("document", "version", "ordinal", name="pk_chunks"),
        sa.ForeignKeyConstraint(
            ["document", "version"],
            ["document_versions.document", "document_versions.version"],
            name="fk_chunks_document_version",
            ondelete="CASCADE",
        ),
    )


def _runs_and_failures() -> None:
    op.create_table(
        "runs",
        sa.Column("id", KEY, nullable=False),
        sa.Column("collection", KEY, nullable=False),
        sa.Column("status", CHOICE, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("paths", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("timing", sa.JSON(), nullable=False),
        sa.Column("error", WORDS),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.ForeignKeyConstraint(["collection"], ["collections.id"], name="fk_runs_collection", ondelete="CASCADE"),
    )
    op.create_index("ix_runs_collection", "runs", ["collection"])
    op.create_table(
        "failures",
        sa.Column("id", KEY, nullable=False),
        sa.Column("collection", KEY, nullable=False),
        sa.Column("document_id", WORDS, nullable=False),
        sa.Column("source", WORDS),
        sa.Column("stage", CHOICE, nullable=False),
        sa.Column("error", WORDS, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("last_seen", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_failures"),
        sa.UniqueConstraint("collection", "document_id", name="uq_failures_collection_document_id"),
        sa.ForeignKeyConstraint(["collection"], ["collections.id"], name="fk_failures_collection", ondelete="CASCADE"),
    )
