"""Which packages of the Debian archive the weak pairs come from, and under which licences their texts stand.

The texts serve for training only and are not part of this project. Every package's `copyright` file has the full terms.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manual:
    """English HTML in a package: pages below `folder` that match one of `patterns`."""

    package: str
    folder: str
    licence: str
    patterns: tuple[str, ...] = ("**/*.html",)


_DOC = "usr/share/doc"

MANUALS = (
    Manual("apache2-doc", f"{_DOC}/apache2-doc/manual/en", "Apache-2.0"),
    Manual("aptitude-doc-en", f"{_DOC}/aptitude/html/en", "GPL-2+"),
    Manual("bash-doc", f"{_DOC}/bash", "GFDL-1.3+", ("bashref.html",)),
    Manual("bind9-doc", f"{_DOC}/bind9-doc/arm", "MPL-2.0"),
    Manual("cmake-doc", f"{_DOC}/cmake-data/html", "BSD-3-Clause"),
    Manual("debian-faq", f"{_DOC}/debian/FAQ", "GPL-2+", ("*.en.html",)),
    Manual("debian-handbook", f"{_DOC}/debian-handbook/html/en-US", "CC-BY-SA-3.0 or GPL-2+"),
    Manual("debian-policy", f"{_DOC}/debian-policy", "GPL-2+"),
    Manual("debian-reference-en", "usr/share/debian-reference", "GPL-2+", ("*.en.html",)),
    Manual("developers-reference", "usr/share/developers-reference", "GPL-2+"),
    Manual("docutils-doc", f"{_DOC}/docutils-doc/docs", "public domain, some parts BSD and GPL-3+"),
    Manual("exim4-doc-html", f"{_DOC}/exim4-doc-html/spec_html", "GPL-2+"),
    Manual("gimp-help-en", "usr/share/gimp/2.0/help/en", "GFDL-1.2+"),
    Manual("git-doc", f"{_DOC}/git-doc", "GPL-2"),
    Manual("installation-guide-amd64", f"{_DOC}/installation-guide-amd64/en", "GPL-2+"),
    Manual("kicad-doc-en", f"{_DOC}/kicad/help/en", "GPL-3+ or CC-BY-3.0+"),
    Manual("libreoffice-help-en-us", "usr/share/libreoffice/help/en-US/text", "MPL-2.0"),
    Manual("libvirt-doc", f"{_DOC}/libvirt-doc/html", "LGPL-2.1+", ("*.html", "kbase/*.html", "manpages/*.html")),
    Manual(
        "linux-doc-6.1",
        f"{_DOC}/linux-doc-6.1/html",
        "GPL-2",
        ("admin-guide/*.html", "process/*.html", "networking/*.html", "filesystems/*.html", "scheduler/*.html", "mm/*.html"),
    ),
    Manual("nodejs-doc", f"{_DOC}/nodejs/api", "MIT"),
    Manual("postfix-doc", f"{_DOC}/postfix/html", "IPL-1.0 or EPL-2.0"),
    Manual("postgresql-doc-15", f"{_DOC}/postgresql-doc-15/html", "PostgreSQL"),
    Manual(
        "python-celery-doc",
        f"{_DOC}/python-celery-doc/html",
        "CC-BY-SA-4.0",
        ("userguide/*.html", "getting-started/*.html", "tutorials/*.html", "*.html"),
    ),
    Manual(
        "python-django-doc",
        f"{_DOC}/python-django-doc/html",
        "BSD-3-Clause",
        ("topics/**/*.html", "ref/**/*.html", "howto/**/*.html", "intro/*.html", "faq/*.html", "misc/*.html", "internals/**/*.html"),
    ),
    Manual("python-flask-doc", f"{_DOC}/python-flask-doc/html", "BSD-3-Clause"),
    Manual("python-jinja2-doc", f"{_DOC}/python-jinja2-doc/html", "BSD-3-Clause"),
    Manual(
        "python-pandas-doc",
        f"{_DOC}/python-pandas-doc/html",
        "BSD-3-Clause",
        ("user_guide/*.html", "getting_started/**/*.html", "development/*.html"),
    ),
    Manual(
        "python-requests-doc", f"{_DOC}/python-requests-doc/html", "Apache-2.0", ("*.html", "user/*.html", "dev/*.html", "community/*.html")
    ),
    Manual("python-scipy-doc", f"{_DOC}/python-scipy-doc/html", "BSD-3-Clause", ("tutorial/**/*.html", "dev/**/*.html")),
    Manual(
        "python-sqlalchemy-doc",
        f"{_DOC}/python-sqlalchemy-doc/html",
        "MIT",
        ("*.html", "orm/**/*.html", "core/*.html", "faq/*.html", "tutorial/*.html", "dialects/*.html"),
    ),
    Manual("python3.11-doc", f"{_DOC}/python3.11/html", "PSF-2.0"),
    Manual(
        "rust-doc",
        f"{_DOC}/rust-doc/html",
        "MIT or Apache-2.0",
        (
            "book/**/*.html",
            "reference/**/*.html",
            "nomicon/**/*.html",
            "edition-guide/**/*.html",
            "embedded-book/**/*.html",
            "rustc/**/*.html",
            "cargo/**/*.html",
            "error_codes/*.html",
        ),
    ),
    Manual("sqlite3-doc", f"{_DOC}/sqlite3", "public domain", ("*.html", "c3ref/*.html")),
)

DICTIONARY_LICENCES = {
    "foldoc": "GFDL-1.1+",
    "jargon": "public domain",
    "elements": "public domain",
    "gcide": "GPL-3+",
}
"""By the name of the dictionary."""

WORDNET_LICENCE = "WordNet 3.0 (Princeton University)"
DESCRIPTIONS_LICENCE = "that of each package"
