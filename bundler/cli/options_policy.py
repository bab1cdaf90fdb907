"""Options of `create` that decide about findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bundler.model import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY_OPTIONS = (
    click.option("--strict", is_flag=True, help="Warnings stop the emission as errors do."),
    click.option(
        "--ignore", "ignores", multiple=True, metavar="CODE[:SUBJECT][=REASON]",
        help="Accept this finding; the manifest tells it with its reason. May be given several times.",
    ),
    click.option(
        "--assume-lib", "assumed_libraries", multiple=True, metavar="SONAME",
        help="The image has this library (libgomp.so.1); verify.py checks that there.",
    ),
    click.option(
        "--deny-licence", "denied_licences", multiple=True, metavar="WORD",
        help="Refuse distributions whose licence holds this word, such as AGPL.",
    ),
)  # fmt: skip


def policy_of(values: Mapping[str, Any]) -> Policy:
    """Turn the values of `POLICY_OPTIONS` into a policy.

    :raises InputError: an unknown code, no subject, or no library's name.
    """
    # Checks know much; a `create --help` need not.
    from bundler.checks import policy
    from bundler.checks.rules.codes import CODES

    return Policy(
        strict=values["strict"],
        ignores=tuple(policy.parse_ignore(text, known=CODES) for text in values["ignores"]),
        assumed_libraries=tuple(policy.parse_library(text) for text in values["assumed_libraries"]),
        denied_licences=values["denied_licences"],
    )
