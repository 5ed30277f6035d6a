"""What RegionCap is made of may be used by whoever uses RegionCap."""

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_LOCKED = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==", re.MULTILINE)
# Copyleft in any spelling; the lesser GPL binds who changes the library, not who uses it.
_BINDS = re.compile(r"(?<!L)(?<!Lesser )(?<!Library )\b(AGPL|GPL|GNU (Affero )?General Public)", re.IGNORECASE)
_OTHERWISE = re.compile(r"Artistic|MIT|BSD|Apache|\bOR\b")


def licence(package: str) -> str | None:
    """What an installed package says of its licence; None where this Python or system does without the package."""
    try:
        about = metadata(package)
    except PackageNotFoundError:
        return None
    classifiers = [each for each in about.get_all("Classifier") or [] if each.startswith("License")]
    return about.get("License-Expression") or "; ".join(classifiers) or (about.get("License") or "")[:200]


def test_no_package_has_a_licence_that_binds_what_uses_it() -> None:
    packages = _LOCKED.findall((ROOT / "requirements" / "airflow.txt").read_text())
    licences = {package: told for package in packages if (told := licence(package)) is not None}
    assert len(licences) > 200
    bound = {name: told for name, told in licences.items() if _BINDS.search(told) and not _OTHERWISE.search(told)}
    assert bound == {}


def test_terms_of_their_own_are_told() -> None:
    page = (ROOT / "docs/security.md").read_text()
    packages = _LOCKED.findall((ROOT / "requirements" / "airflow.txt").read_text())
    for package in packages:
        if re.search("GPL|Lesser|Library or", licence(package) or ""):
            assert f"`{package}`" in page, package
