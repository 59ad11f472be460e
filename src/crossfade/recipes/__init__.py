"""Recipes: what is known of an application, one YAML file each.  ``load`` reads one."""

from crossfade.recipes._load import check_spec, load, names
from crossfade.recipes._spec import (
    DATABASE_PLACEHOLDERS,
    PLACEHOLDERS,
    SERVER_DRIVERS,
    CheckSpec,
    Condition,
    ConfigurationSpec,
    EffectSpec,
    InstallSpec,
    KeyReference,
    PartSpec,
    Recipe,
    RequirementSpec,
    RewriteSpec,
    ServiceSpec,
    fill,
    is_secret_name,
)

__all__ = [
    "DATABASE_PLACEHOLDERS",
    "PLACEHOLDERS",
    "SERVER_DRIVERS",
    "CheckSpec",
    "Condition",
    "ConfigurationSpec",
    "EffectSpec",
    "InstallSpec",
    "KeyReference",
    "PartSpec",
    "Recipe",
    "RequirementSpec",
    "RewriteSpec",
    "ServiceSpec",
    "check_spec",
    "fill",
    "is_secret_name",
    "load",
    "names",
]
