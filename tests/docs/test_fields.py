"""docs/fields.md is the generated reference: a field that changes, changes there too."""

from fixtures import ROOT
from fixtures.pages.fields import PARTS, fields_markdown


def test_the_page_is_the_generated_one() -> None:
    """Else: put print(fields_markdown()) between the marks."""
    page = (ROOT / "docs" / "fields.md").read_text()
    assert page.partition("<!-- fields -->\n")[2].partition("\n<!-- /fields -->")[0] == fields_markdown()


def test_every_field_is_there() -> None:
    """Of every model, by its name."""
    page = fields_markdown()
    for models in PARTS.values():
        for _, model in models:
            assert all(f"| `{name}` |" in page for name, field in model.model_fields.items() if field.repr)
