"""What every schema shares: frozen models that refuse unknown keys, and numbers written as in the papers (`8/255`)."""

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


class Settings(BaseModel):
    """A frozen schema: its fields are the settings, an unknown key is an error that names its full path."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


def _number(value: Any) -> Any:
    """Reads `8/255` as a quotient; leaves everything else to pydantic."""
    if isinstance(value, str) and "/" in value:
        try:
            numerator, denominator = value.split("/")
            return float(Fraction(numerator.strip()) / Fraction(denominator.strip()))
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"{value!r} is not a number; write a decimal or a quotient such as 8/255") from error
    return value


def _pixel_units(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(
            f"{value:g} is not in [0, 1]: radii and steps are in units of [0, 1] images; write {value:g}/255"
        )
    return value


Real = Annotated[float, BeforeValidator(_number)]
"""A number, possibly written as a quotient."""

PixelDistance = Annotated[float, BeforeValidator(_number), AfterValidator(_pixel_units)]
"""A radius or step in units of [0, 1] images, usually written as a quotient such as `8/255`."""


UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
"""The path of a file or directory of the user's; `~` is the home directory."""

_Settings = TypeVar("_Settings", bound=Settings)


def merged(base: _Settings, changes: dict[str, Any]) -> _Settings:
    """`base` with some of its fields replaced, those of nested settings one by one, and validated anew."""
    return type(base).model_validate(_replaced(base.model_dump(), changes))


def _replaced(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings of another kind replace those of the base whole: they have other fields."""
    nested = {
        key: _replaced(base[key], value)
        for key, value in changes.items()
        if isinstance(base.get(key), dict)
        and isinstance(value, dict)
        and value.get("kind") in (None, base[key].get("kind"))
    }
    return {**base, **changes, **nested}


_DIGEST = "sha256_of_the_rest"


def signed(settings: Settings) -> str:
    """Settings as JSON for a file, with the SHA-256 of all the rest as the last entry."""
    return signed_content(settings.model_dump(mode="json"))


def signed_content(content: dict[str, Any]) -> str:
    """The same without a schema."""
    return json.dumps({**content, _DIGEST: _digest(content)}, indent=2, ensure_ascii=False) + "\n"


def verified(schema: type[_Settings], text: str) -> _Settings:
    """Reads what `signed` wrote.

    Raises:
        ValueError: it is no JSON, it was changed since it was written, or it is not of this schema.
    """
    return schema.model_validate(verified_content(text))


def verified_content(text: str) -> dict[str, Any]:
    """The same without a schema."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.pop(_DIGEST, None) != _digest(content):
        raise ValueError("its content does not match the digest that it ends with")
    return content


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
