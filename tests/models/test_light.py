"""What a request needs of the openai package is loaded, the rest when it is asked for."""

import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ars_acp.models.light import without_certificates

HEAVY = ("openai.types.chat", "openai.resources", "openai.lib.azure", "httpcore2._sync", "h11", "rich", "click")
READY = """
import sys
from ars_acp.models.config import ModelConfig
from ars_acp.models.openai import OpenAIModel
OpenAIModel(ModelConfig("{url}", "sk-not-a-real-key", "m"))._build()
"""


def run(code: str, **env: str) -> str:
    """What a fresh interpreter prints that runs this."""
    environment = {**os.environ, **env}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "https://127.0.0.1:9/v1"])
def test_a_client_that_has_made_a_request_has_loaded_a_tenth_of_the_openai_package(url: str) -> None:
    loaded = set(run(READY.format(url=url) + "print(*sys.modules)").split())
    assert {"openai", "openai._client", "aiohttp", "httpx2"} <= loaded
    assert not {name for name in loaded if name.startswith(HEAVY)}
    assert len([name for name in loaded if name.partition(".")[0] == "openai"]) <= 60


def test_whoever_asks_for_more_of_the_package_gets_it() -> None:
    code = READY.format(url="http://127.0.0.1:9/v1") + (
        "import openai, httpcore2\n"
        "from openai.types.chat import ChatCompletion\n"
        "from httpcore2 import *\n"
        "assert ConnectionPool and openai.__version__\n"
        "from openai import AsyncOpenAI, AsyncAzureOpenAI, BaseModel, resources\n"
        "assert issubclass(AsyncAzureOpenAI, AsyncOpenAI) and issubclass(ChatCompletion, BaseModel)\n"
        "assert openai.types.Model and openai.chat and httpcore2.AsyncConnectionPool\n"
        "assert openai.APIStatusError is openai._exceptions.APIStatusError\n"
        "try: openai.nonsense\n"
        "except AttributeError: print(len([name for name in sys.modules if name.startswith('openai')]))"
    )
    assert int(run(code)) > 300


def test_a_deferred_package_that_is_laid_out_in_another_way_is_loaded_whole(tmp_path: Path) -> None:
    (tmp_path / "laid").mkdir()
    (tmp_path / "laid/__init__.py").write_text("print('whole')\nfrom .inner import A\nB = 1\n")
    (tmp_path / "laid/inner.py").write_text("A = 2\nC = 3\n")
    defer = "from ars_acp.models.light import defer; defer({'laid': ('gone', 'inner'), 'laid.gone.on': (), 'none': ()})"
    front = run(f"{defer}; import laid; from laid import inner; print(laid.C, laid.A)", PYTHONPATH=str(tmp_path))
    assert front == "3 2\n"
    whole = run(f"{defer}; from laid import B; import laid; print(B, laid.A, laid.inner.C)", PYTHONPATH=str(tmp_path))
    assert whole == "whole\n1 2 3\n"


def test_a_front_that_cannot_be_imported_says_why(tmp_path: Path) -> None:
    (tmp_path / "laid").mkdir()
    (tmp_path / "laid/__init__.py").write_text("")
    (tmp_path / "laid/inner.py").write_text("import nowhere\n")
    code = "from ars_acp.models.light import defer; defer({'laid': ('inner',)})\ntry: from laid import A\n"
    assert "nowhere" in run(code + "except ModuleNotFoundError as error: print(error.name)", PYTHONPATH=str(tmp_path))


def test_a_front_is_there_while_another_thread_loads_the_whole_package(tmp_path: Path) -> None:
    (tmp_path / "laid").mkdir()
    (tmp_path / "laid/inner.py").write_text("import threading\nbegun, go_on = threading.Event(), threading.Event()\n")
    (tmp_path / "laid/__init__.py").write_text(
        "import laid\nfrom .inner import begun, go_on\nearly = hasattr(laid, 'B')\n"
        "begun.set()\nassert go_on.wait(10)\nB = 1\n"
    )
    code = (
        "from ars_acp.models.light import defer; defer({'laid': ('inner',)})\n"
        "import threading, laid\n"
        "from laid.inner import begun, go_on\n"
        "told = []\n"
        "loads = threading.Thread(target=lambda: told.append(laid.B))\n"
        "loads.start()\n"
        "assert begun.wait(10)\n"
        "assert laid.threading is threading\n"
        "go_on.set(); loads.join(10)\n"
        "print(told, laid.B, laid.early)"
    )
    assert run(code, PYTHONPATH=str(tmp_path)) == "[1] 1 False\n"


def test_only_the_thread_that_asked_for_it_makes_tls_contexts_that_trust_nobody() -> None:
    everyone = trusted()
    with without_certificates():
        assert trusted() == 0
        others: list[int] = []
        thread = threading.Thread(target=lambda: others.append(trusted()))
        thread.start()
        thread.join(5)
    assert others == [everyone]
    assert trusted() == everyone


def trusted() -> int:
    """How many authorities a context trusts that is made in the usual way."""
    return ssl.create_default_context().cert_store_stats()["x509_ca"]
