"""How Alembic runs the scripts in `versions/`.

The package passes an open connection (`qwen3_rag.catalog.migrate`). A developer names a scratch database, to have a new script drafted:

    alembic -c migrations/alembic.ini -x url=sqlite:///scratch.db revision --autogenerate -m "what changes"
"""

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection

from qwen3_rag.catalog.engine import open_engine, writing
from qwen3_rag.catalog.tables import Base


def run(connection: Connection) -> None:
    # Batch mode: SQLite can hardly alter a table in place, so Alembic copies it.
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


def connect_and_run() -> None:
    url = context.get_x_argument(as_dictionary=True).get("url")
    if context.is_offline_mode() or not url:
        raise CommandError("Name a scratch database: alembic -c migrations/alembic.ini -x url=sqlite:///scratch.db …")
    engine = open_engine(url)
    with writing(engine).begin() as connection:
        run(connection)
    engine.dispose()


given = context.config.attributes.get("connection")
if given is None:
    connect_and_run()
else:
    run(given)
