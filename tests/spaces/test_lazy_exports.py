"""Lazy package exports."""

from __future__ import annotations

import sys

import pytest

from depthweave.spaces.lazy_exports import lazy_exports


def test_export_is_imported_when_first_used() -> None:
    sys.modules.pop("xml.sax.xmlreader", None)
    get_export = lazy_exports("xml.sax", {"xmlreader": ("XMLReader", "Locator")})
    assert "xml.sax.xmlreader" not in sys.modules
    assert get_export("XMLReader") is sys.modules["xml.sax.xmlreader"].XMLReader


def test_unknown_export_is_an_attribute_error_as_python_words_it() -> None:
    with pytest.raises(AttributeError, match=r"^module 'xml\.sax' has no attribute 'nothing'$"):
        lazy_exports("xml.sax", {"xmlreader": ("XMLReader",)})("nothing")
