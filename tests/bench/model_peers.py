"""Other gateways for models, and nginx as the floor: their settings, as their documentation advises for production, with one worker each.

What costs and can be left out is off: logs, telemetry, web pages, lookups on the internet. `make bench-peers ARGS=--models` installs them.
"""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from tests.bench.model_targets import ModelTarget
from tests.bench.targets import ROOT, Missing, of_this_python

CACHE = ROOT / ".cache"
KEY = "sk-only-for-this-benchmark-0123456789"

NGINX = """\
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  map $http_authorization $known {{ default 0; "Bearer {key}" 1; }}
  upstream provider {{ server {provider}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  server {{
    listen 127.0.0.1:{port};
    keepalive_requests 1000000000;
    location / {{
      if ($known = 0) {{ return 401; }}
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


LOOPBACK = """\
import { Server } from "node:net";
const { listen } = Server.prototype;
Server.prototype.listen = function (port, host, ...rest) { return listen.call(this, port, host ?? "127.0.0.1", ...rest); };
"""
"""Portkey listens on every address of the machine and has no setting for it; it would send whatever anybody asks wherever they say."""


def installed(path: Path) -> Path:
    if not path.exists():
        raise Missing(f"{path.relative_to(ROOT)} is not there; `make bench-peers ARGS=--models` installs it")
    return path


def prepare_nginx(folder: Path, port: int, provider: str) -> Sequence[str]:
    """One key is checked, answers are not buffered, connections to both sides stay open."""
    user = "user root;" if os.geteuid() == 0 else ""
    text = NGINX.format(user=user, key=KEY, provider=provider.removeprefix("http://"), port=port)
    (folder / "nginx.conf").write_text(text)
    return [str(installed(CACHE / "peer-nginx" / "nginx")), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]


def prepare_portkey(_folder: Path, port: int, _provider: str) -> Sequence[str]:
    folder = installed(CACHE / "peer-portkey")
    server = installed(folder / "node_modules/@portkey-ai/gateway/build/start-server.js")
    preload = "data:text/javascript," + quote(LOOPBACK)
    return [str(installed(folder / "node")), "--import", preload, str(server), "--headless", f"--port={port}"]


def prepare_litellm(*, key: bool) -> Callable[[Path, int, str], Sequence[str]]:
    def prepare(folder: Path, port: int, provider: str) -> Sequence[str]:
        environment = CACHE / "peer-litellm"
        program = installed(environment / "bin" / "litellm")
        of_this_python(environment / "bin" / "python")
        model = {"model": "openai/bench-1", "api_base": f"{provider}/v1", "api_key": KEY}
        config = {
            "model_list": [{"model_name": "bench", "litellm_params": model}],
            "general_settings": {"master_key": KEY} if key else {},
            "litellm_settings": {"request_timeout": 600, "set_verbose": False, "telemetry": False},
        }
        (folder / "config.yaml").write_text(json.dumps(config))
        return [str(program), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]

    return prepare


LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}


OPEN = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
"""Without it LiteLLM does not start without a key."""


def versions() -> dict[str, str]:
    """What is installed, by name; what is not is left out."""
    found: dict[str, str] = {}
    asked = {
        "nginx": [CACHE / "peer-nginx" / "nginx", "-v"],
        "Node.js": [CACHE / "peer-portkey" / "node", "-v"],
        "LiteLLM": [CACHE / "peer-litellm" / "bin" / "python", "-c", "from importlib.metadata import version; print(version('litellm'))"],
    }
    for name, argv in asked.items():
        if Path(argv[0]).exists():
            said = subprocess.run([str(one) for one in argv], check=False, capture_output=True, text=True)
            found[name] = (said.stdout + said.stderr).strip().rpartition("/")[2].removeprefix("v")
    package = CACHE / "peer-portkey" / "node_modules/@portkey-ai/gateway/package.json"
    if package.exists():
        found["Portkey"] = json.loads(package.read_text())["version"]
    return found


def model_peers() -> list[ModelTarget]:
    """Portkey's open gateway knows no keys of its own: what it is sent goes on to the provider. LiteLLM's virtual keys and budgets need its
    PostgreSQL and Prisma's engine, which is downloaded when it is first used; what is measured is its master key, and none at all."""

    def portkey(folder: Path, port: int, provider: str) -> Sequence[str]:
        target.headers["x-portkey-custom-host"] = f"{provider}/v1"
        return prepare_portkey(folder, port, provider)

    bearer = {"authorization": f"Bearer {KEY}"}
    target = ModelTarget("Portkey", portkey, headers={**bearer, "x-portkey-provider": "openai"}, env={"NODE_ENV": "production"})
    return [
        ModelTarget("nginx", prepare_nginx, headers=bearer),
        target,
        ModelTarget("LiteLLM, no key", prepare_litellm(key=False), headers=bearer, env=LITELLM | OPEN),
        ModelTarget("LiteLLM, master key", prepare_litellm(key=True), headers=bearer, env=LITELLM),
    ]
