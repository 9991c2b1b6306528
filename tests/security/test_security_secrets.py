"""No secret of a command line or of the environment is written down, wherever it stands."""

from __future__ import annotations

import json
import os
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.launch.options import RunOptions
from tuimon.record.events import EventReader, EventWriter
from tuimon.record.liveness import identity
from tuimon.record.redact import HIDDEN, is_secret, redacted_words
from tuimon.record.rundir import RunInfo, create_run

SECRET = st.from_regex(r"[A-Z][A-Z0-9+/%!*.]{11,30}", fullmatch=True)
NAMES = st.sampled_from([
    "api-key", "api_key", "apiKey", "API_KEY", "wandb.api_key", "hf_token", "token", "auth-token", "TOKEN", "secret", "client_secret",
    "password", "db-passwd", "passphrase", "AWS_SECRET_ACCESS_KEY", "aws.credentials", "ssh-key", "key", "keys", "Authorization-Bearer"])
OTHERS = st.lists(st.sampled_from(["train.py", "--lr", "3e-4", "lr=3e-4", "-v", "data/tokens.bin", "--max-tokens=2048", "http://h:8080/x"]), max_size=5)
FORMS = st.sampled_from([
    ("--{name}", "{secret}"), ("-{name}", "{secret}"), ("--{name}={secret}",), ("{name}={secret}",), ("+{name}={secret}",),
    ("{name}: {secret}",), ('{{"lr": 1, "{name}": "{secret}"}}',), ("{{a: 1, {name}: {secret}}}",), ("A=1 {name}={secret} B=2",),
    ("https://ada:{secret}@host/x",), ("--db", "postgres://ada:{secret}@h:5432/d"), ("https://{secret}@github.com/x",),
    ("https://host/x?y=1&{name}={secret}&z=2",), ("--header", "Authorization: Bearer {secret}"), ("--header=Authorization: Bearer {secret}",)])


@given(before=OTHERS, after=OTHERS, name=NAMES, secret=SECRET, form=FORMS)
def test_whatever_the_form_the_secret_is_gone_and_the_rest_stays(before, after, name, secret, form):
    words = [*before, *(part.format(name=name, secret=secret) for part in form), *after]
    told = redacted_words(words, {})
    assert len(told) == len(words)
    assert secret not in "\n".join(told)
    assert told[:len(before)] == tuple(before)


@given(st.lists(st.text(max_size=20), max_size=6), st.text(min_size=8, max_size=20).filter(lambda s: s.strip() and s not in HIDDEN))
def test_a_secret_of_the_environment_is_gone_wherever_it_stands(words, secret):
    env = {"WANDB_API_KEY": "x" + secret, "HOME": "/home/ada"}
    told = redacted_words([*words, f"a x{secret} b", f"--run=x{secret}"], env)
    assert not any("x" + secret in word for word in told)


@given(st.lists(st.text(max_size=30), max_size=8))
def test_any_words_stay_as_many_words(words):
    assert len(redacted_words(words, {})) == len(words)


@pytest.mark.parametrize("words", [
    ["train.py", "--num-key-value-heads", "8", "--max-tokens", "2048", "--tokenizer", "gpt2", "--pad_token_id=50256"],
    ["model.key_dim=64", "use_auth_token=false", "--keypoints", "x", "--monkey", "patch", "--author", "ada"],
    ["git+ssh://git@github.com/a/b", "s3://bucket/path", "a@b.c", "k=v", "attn.key.weight", "--lr=3e-4", "tokens=1e9", ""],
    ["http://host:8080/x", "--betas", "0.9,0.95", "data:path", "C:/data"],
])
def test_what_people_compare_runs_by_stays(words):
    assert redacted_words(words, {}) == tuple(words)


def test_the_directory_that_one_works_in_is_no_secret():
    words = ("/home/ada/project/train.py", "--out=/home/ada/old/x")
    assert redacted_words(words, {"PWD": "/home/ada/project", "OLDPWD": "/home/ada/old"}) == words
    assert redacted_words(["--dsn", "u/hunter22"], {"DB_PWD": "hunter22"}) == ("--dsn", f"u/{HIDDEN}")


@pytest.mark.parametrize("word", ["hf_" + "aB3" * 8, "sk-" + "aB3-" * 8, "ghp_" + "aB3" * 9, "AKIA" + "AB3D" * 4, "eyJhbGciOi.eyJzdWIiOi.abc"])
def test_what_looks_like_a_key_is_taken_for_one(word):
    assert redacted_words(["train.py", word, f"--run={word}"], {}) == ("train.py", HIDDEN, f"--run={HIDDEN}")


def test_names_are_read_as_people_write_them():
    assert all(is_secret(name, "x") for name in ("AWS_SECRET_ACCESS_KEY", "apiKey", "hf-token", "DB_PASSWORD", "GOOGLE_APPLICATION_CREDENTIALS"))
    assert not any(is_secret(name, "x") for name in ("tokenizer", "author", "keyboard", "monkeypatch", "learning_rate"))
    assert is_secret("password", "1234")
    assert not is_secret("n_tokens", "1_000_000")


def test_neither_run_json_nor_launch_json_nor_events_hold_it(tmp_path, monkeypatch):
    secret = "Xy7-very-secret"
    monkeypatch.setenv("SOME_SERVICE_TOKEN", secret)
    run = create_run("x", tmp_path)
    run.write_info(RunInfo("x", identity(), argv=("train.py", "--api-key", secret, f"--url=https://a:{secret}@h", secret, "--lr", "1")))
    options = RunOptions(script="train.py", arguments=("--password", secret, "--lr", "1", secret))
    assert shlex.split(options.words) == ["python", "train.py", "--password", HIDDEN, "--lr", "1", HIDDEN]
    writer = EventWriter(run.events, 1)
    writer.append("fault", 1, 0.0, {"error": f"HTTPError: 401 for https://x:pw@h/?a=1, header {secret}", "n": 1, "list": [1]})
    writer.close()
    written = b"".join(p.read_bytes() for p in run.path.rglob("*") if p.is_file()).decode()
    assert secret not in written
    assert "pw@" not in written
    assert run.read_info().argv == ("train.py", "--api-key", HIDDEN, f"--url=https://a:{HIDDEN}@h", HIDDEN, "--lr", "1")
    (event,) = EventReader(run.events).poll()
    assert event.fields == {"error": f"HTTPError: 401 for https://x:{HIDDEN}@h/?a=1, header {HIDDEN}", "n": 1, "list": [1]}


def test_nothing_of_the_environment_is_written_at_all(tmp_path, monkeypatch):
    """A run says what was measured, not where: no variable, secret by its name or not, comes along by itself."""
    marked = {f"MARKED_{i}": f"value-{i}-of-the-environment" for i in range(5)}
    for name, value in marked.items():
        monkeypatch.setenv(name, value)
    run = create_run("x", tmp_path)
    run.write_info(RunInfo("x", identity(), argv=("train.py",)))
    body = json.loads(run.run_json.read_bytes())
    assert not any(value in json.dumps(body) for value in marked.values())
    assert os.environ["MARKED_0"] == marked["MARKED_0"]
