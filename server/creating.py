"""``kintoun create-user``: an account, or a new password for one."""

import dataclasses
import os
import sys
from pathlib import Path

import click

from server.auth.accounts import account_uri
from server.auth.passwords import hash_password
from server.config import Settings, StartupError, load_settings
from server.core.accounts import check_password
from server.core.commands import Command, Outcome, Replace, Target
from server.core.contents import Content
from server.core.errors import InvalidParameters, SyncError
from server.core.json_text import dump_json
from server.core.paths import ALL_KINDS, is_valid_id, object_path
from server.core.permissions import Actor
from server.stopping import run_stoppable
from server.storage.base import Storage
from server.transfer.targets import open_target

OPERATOR = "system.Operator"
"""Who may do it: nobody who comes over HTTP has this principal."""


@click.command("create-user")
@click.argument("name", required=False)
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of stdin."
)
@click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the private MongoDB's data.  [default: ./data]",
)
@click.option(
    "--ini",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="KINTO_INI",
    help="Ini file of a Kinto; its section [app:main] is read.",
)
def create_user(
    name: str | None, *, password_stdin: bool, data_dir: Path | None, ini: Path | None
) -> None:
    """Make the account NAME, or give it a new password.

    The settings are those of the server, which may run meanwhile.
    """
    settings = load_settings(os.environ, ini, data_dir=data_dir)
    policy = _find_policy(settings)
    name = name or click.prompt("Name")
    if not is_valid_id(name, ALL_KINDS["account"].ids):
        raise StartupError(
            f"{name!r} cannot be the name of an account: use letters, digits and + . @ - _,"
            " a letter or digit first."
        )
    password = _check(_read_password() if password_stdin else _ask_password(name))
    secret = hash_password(password, settings.accounts.password_rounds)
    sys.exit(run_stoppable(_create(_as_operator(settings), policy, name, secret)))


def _find_policy(settings: Settings) -> str:
    if settings.readonly:
        raise StartupError("The server is read-only: take readonly out of the settings.")
    names = [name for name, kind in settings.policies.items() if kind == "accounts"]
    if "accounts" not in settings.includes or not names:
        raise StartupError(
            "The server has no accounts: add accounts to includes and account to"
            " multiauth.policies."
        )
    return names[0]


def _read_password() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _ask_password(name: str) -> str:
    asked: str = click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True)
    return asked


def _check(password: str) -> str:
    if not password:
        raise StartupError("A password must not be empty.")
    try:
        return check_password(password)
    except InvalidParameters as error:
        raise StartupError(f"The password {error.problems[0].description}.") from None
    except UnicodeEncodeError:
        raise StartupError("The password is no text in UTF-8.") from None


def _as_operator(settings: Settings) -> Settings:
    granted = dict.fromkeys(("account:create", "account:write"), frozenset([OPERATOR]))
    return dataclasses.replace(settings, principals={**settings.principals, **granted})


async def _create(settings: Settings, policy: str, name: str, secret: str) -> int:
    """Store an account, and say so; the exit code."""
    owner = f"{policy}:{name}"
    async with open_target(settings) as storage:
        path = object_path(account_uri(name))
        actor = Actor(owner, frozenset([OPERATOR]))
        fields = await _find_fields(storage, path.uri)
        permissions = {"write": (owner,)}
        content = Content(fields, dump_json(fields), permissions=permissions, secret=secret)
        (verdict,) = await storage.commit(Command((Replace(Target(actor, path), content),)))
    if isinstance(verdict, SyncError):
        raise StartupError(f"The account cannot be stored: {verdict.message}")
    assert isinstance(verdict, Outcome)
    done = "was made" if verdict.created else "has its new password"
    click.echo(f"The account {name} {done}: its user is {owner}.")
    return 0


async def _find_fields(storage: Storage, uri: str) -> dict[str, object]:
    """What an account that exists holds; whoever gives it a password vouches for it."""
    async with storage.snapshot() as snapshot:
        stored = (await snapshot.objects([uri])).get(uri)
    if stored is None or stored.deleted:
        return {}
    left_out = {"id", "last_modified"}
    fields = {name: value for name, value in stored.data.items() if name not in left_out}
    return {**fields, **({"validated": True} if "validated" in fields else {})}
