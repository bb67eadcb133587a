"""alerts.toml: where it is found, what it says, and how what is wrong in it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_agent_journal.alerts.file import found_rules, read_rules
from otel_agent_journal.alerts.receivers import open_receivers
from otel_agent_journal.alerts.rules import NS_PER_S
from otel_agent_journal.errors import ConfigError, MissingExtra

WHOLE = """
# rules of a team
[[alert]]
name = "spend"
every = "5m"
for = "10m"
severity = "critical"
sql = "SELECT agent, sum(cost_usd) AS usd FROM sessions GROUP BY agent"
summary = "{agent} spent ${usd:.2f}"
send = ["ops", "team"]

[[alert]]
name = "stuck"
kind = "stuck"
after = "90s"
send = "ops"

[receiver.ops]
kind = "webhook"
url = "https://hooks.example.com/a"
secret_env = "S"

[receiver."team"]
kind = "slack"
url_env = "SLACK"
resolved = false
"""


def read(tmp_path: Path, text: str) -> None:
    (tmp_path / "alerts.toml").write_text(text)
    read_rules(tmp_path / "alerts.toml")


def test_what_it_says(tmp_path: Path) -> None:
    """Rules and receivers come out as they are written, with defaults for the rest."""
    (tmp_path / "alerts.toml").write_text(WHOLE)
    rules = read_rules(tmp_path / "alerts.toml")
    spend, stuck = rules.rules
    assert (spend.every_ns, spend.for_ns, spend.severity) == (300 * NS_PER_S, 600 * NS_PER_S, "critical")
    assert spend.send == ("ops", "team")
    assert (stuck.kind, stuck.after_ns, stuck.every_ns, stuck.send) == ("stuck", 90 * NS_PER_S, 60 * NS_PER_S, ("ops",))
    assert [one.resolved for one in rules.receivers.values()] == [True, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[alert]\n", "is not TOML"),
        ("", "has no [[alert]]"),
        ("[alerts]\n", "has 'alerts'; it holds"),
        ("alert = 1\n", "begin each entry with [[alert]]"),
        ('[[alert]]\nkind = "stuck"\n', "line 1: alert 1: name is missing"),
        ('[[alert]]\nname = "a b"\nkind = "stuck"\n', "line 2: alert 'a b': name is 'a b'"),
        ('[[alert]]\nname = "rule_broken"\nkind = "stuck"\n', "name is 'rule_broken'"),
        ('[[alert]]\nname = "a"\n', "it needs one of the two, kind and sql"),
        ('[[alert]]\nname = "a"\nkind = "stuk"\n', "line 3: alert 'a': kind is 'stuk'; there are stuck, loop"),
        ('[[alert]]\nname = "a"\nkind = "stuck"\n\nevery = "5x"\n', "line 5: alert 'a': every is '5x'; a time from 1s"),
        ('[[alert]]\nname = "a"\nkind = "stuck"\nevery = 5\n', "every is 5"),
        ('[[alert]]\nname = "a"\nkind = "stuck"\never = "5m"\n', "ever is not known here; did you mean every"),
        ('[[alert]]\nname = "a"\nkind = "stuck"\ntimes = 5\n', "line 4: alert 'a': times is not known here"),
        ('[[alert]]\nname = "a"\nkind = "spend"\n', "over is missing; say how many dollars"),
        ('[[alert]]\nname = "a"\nkind = "spend"\nover = true\n', "over is true; a number"),
        ('[[alert]]\nname = "a"\nkind = "loop"\ntimes = 1\n', "times is 1; a whole number from 2"),
        ('[[alert]]\nname = "a"\nkind = "slow"\nby = "session"\n', "by is 'session'; there are agent"),
        ('[[alert]]\nname = "a"\nkind = "stuck"\nsend = ["x"]\n', "no receiver is called 'x'; there are none"),
        ('[[alert]]\nname = "a"\nkind = "stuck"\nsend = [1]\n', "a list of names is expected"),
        ('[[alert]]\nname = "a"\nkind = "stuck"\nsummary = "{b}"\n', "summary names {b}; kind stuck has session_id"),
        ('[[alert]]\nname = "a"\nsql = "x"\nsummary = "{b"\n', "summary is malformed"),
        ('[[alert]]\nname = "a"\nsql = "x"\nsummary = "{b.__class__}"\n', "in a form that it may not have"),
        ('[[alert]]\nname = "a"\nsql = "x"\nsummary = "{b:999999999}"\n', "in a form that it may not have"),
        ('[[alert]]\nname = "a"\nkind = "stuck"\n[[alert]]\nname = "a"\nkind = "loop"\n', "line 5: alert 'a': name"),
        ("[[receiver]]\n", "a receiver is a table of its name"),
        ("[receiver.x]\n", "line 1: receiver 'x': kind is missing"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    """A malformed file is an error with the line, the rule, the key, what is wrong and what is expected."""
    with pytest.raises(ConfigError) as failed:
        read(tmp_path, text)
    assert said in str(failed.value)
    assert str(tmp_path / "alerts.toml") in str(failed.value)


RULE = '[[alert]]\nname = "a"\nkind = "stuck"\n'
HIDDEN = "hunter2-secret"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            f'kind = "webhook"\nurl = "https://x.example"\nsecret = "{HIDDEN}"\n',
            "secret stands in the file; name a var",
        ),
        ('kind = "webhook"\nurl = "https://x.example"\n', "it has no secret; name it by secret_env or secret_file"),
        ('kind = "webhook"\nsecret_env = "S"\n', "it has no url"),
        (
            'kind = "webhook"\nurl = "https://x.example"\nsecret_env = "GONE"\n',
            "secret_env names GONE, which is not set",
        ),
        ('kind = "webhook"\nurl = "https://x.example"\nsecret_env = "S"\n', "not in the form of Standard Webhooks"),
        ('kind = "webhook"\nurl = "https://x.example"\nsecret_file = "gone"\n', "secret_file cannot be read"),
        (f'kind = "webhook"\nurl = "https://u:{HIDDEN}@x.example"\nunsigned = true\n', "url holds a user or password"),
        (f'kind = "webhook"\nurl = "{HIDDEN}"\nunsigned = true\n', "url is no URL that can be posted to"),
        (f'kind = "slack"\nurl = "https://hooks.slack.com/{HIDDEN}"\n', "a webhook's URL of Slack is a secret"),
        ('kind = "slack"\n', "it has no url; name a variable (url_env)"),
        ('kind = "webhook"\nurl = "https://x.example"\nunsigned = true\ntimeout = "5m"\n', "a time from 0.1s to 30s"),
        ('kind = "webhook"\nurl = "https://x.example"\nunsigned = true\nzzz = 1\n', "zzz is not known here"),
        ('kind = "pager"\n', "there is no kind 'pager'; there are eventbridge, slack, sns, webhook"),
    ],
)
def test_receivers_that_are_wrong(tmp_path: Path, table: str, said: str) -> None:
    """So is a receiver; a secret is never in a message, nor taken from the file itself."""
    (tmp_path / "alerts.toml").write_text(f"{RULE}[receiver.ops]\n{table}")
    with pytest.raises(ConfigError) as failed:
        open_receivers(read_rules(tmp_path / "alerts.toml"), {"S": HIDDEN})
    assert said in str(failed.value)
    assert "receiver 'ops'" in str(failed.value)
    assert HIDDEN not in str(failed.value)


def test_secrets_come_from_variables_and_files(tmp_path: Path) -> None:
    """A secret is read from a variable, or from a file named from the folder of alerts.toml."""
    (tmp_path / "key").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    (tmp_path / "alerts.toml").write_text(
        f'{RULE}[receiver.a]\nkind = "webhook"\nurl = "https://x.example:8443/T/B?token=1"\nsecret_file = "key"\n'
        '[receiver.b]\nkind = "slack"\nurl_env = "SLACK"\n'
    )
    found = open_receivers(read_rules(tmp_path / "alerts.toml"), {"SLACK": "https://hooks.slack.com/services/T/B/x"})
    shown = {name: one.shown for name, one in found.items()}
    assert shown == {"a": "https://x.example:8443/***", "b": "https://hooks.slack.com/***"}


def test_it_is_found_from_below(tmp_path: Path) -> None:
    """The file is the one in the folder, else the nearest above it in the project; one that is named counts first."""
    project = tmp_path / "project"
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    (project / ".git").mkdir()
    (tmp_path / "alerts.toml").write_text("")
    with pytest.raises(ConfigError, match=r"there is no alerts\.toml in"):
        found_rules(None, below)
    (project / "alerts.toml").write_text("")
    assert found_rules(None, below) == project / "alerts.toml"
    assert found_rules(str(tmp_path / "alerts.toml"), below) == tmp_path / "alerts.toml"
    with pytest.raises(ConfigError, match="there is no file of rules at"):
        found_rules(str(tmp_path / "gone.toml"), below)


def test_a_kind_whose_package_is_missing_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of ours that is not installed is an error with the extra."""
    monkeypatch.setattr("otel_agent_journal.alerts.receivers.entry_points", lambda **_: ())
    (tmp_path / "alerts.toml").write_text(f'{RULE}[receiver.t]\nkind = "sns"\ntopic_arn = "arn:aws:sns:::t"\n')
    with pytest.raises(MissingExtra, match=r"otel-agent-journal\[aws\]"):
        open_receivers(read_rules(tmp_path / "alerts.toml"), {})
