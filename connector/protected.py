"""What no rule and no mode of an agent's opens: files that steer git, editors and agents, or hold secrets.

Data for policies: to write such a file, and to read one that holds secrets, is always asked. A name counts wherever it
stands in the path, and as the most forgiving file system would compare it.
"""

import fnmatch
import re
import unicodedata
from enum import Enum


class Protected(Enum):
    """Why a path is protected; the value is for people."""

    GIT = "git runs what is written there"
    SETTINGS = "settings of an editor or an agent, which may run what is written there"
    INSTRUCTIONS = "instructions that agents follow"
    SECRETS = "it holds secrets"

    @property
    def from_reading(self) -> bool:
        """Whether it is protected from being read, too."""
        return self is Protected.SECRETS


# Names of files and directories, as patterns; the first row that fits counts.
_NAMES = {
    Protected.GIT: """.git git~1 .gitmodules .gitattributes .gitconfig .githooks .husky .pre-commit-config.yaml""",
    Protected.SETTINGS: """
        .ars .ars-acp .aider* .amp .augment .claude .claude.json .clinerules .codex .continue .copilot .crush* .cursor
        .devcontainer .envrc .exrc .factory .fleet .gemini .goose .helix .idea .junie .kilocode .kimi .kiro .mcp.json
        .nvim* .opencode* opencode.json* .qwen .roo .trae .vim* .vscode *.code-workspace .windsurf .zed .bash* .zsh*
    """,
    Protected.INSTRUCTIONS: """
        agents.md claude.md claude.local.md gemini.md qwen.md crush.md copilot-instructions.md .cursorrules
        .windsurfrules .goosehints
    """,
    Protected.SECRETS: """
        .env* .ssh .gnupg .aws .azure .kube .docker .netrc .npmrc .pypirc .pgpass .vault-token .git-credentials
        credentials.json secrets.toml auth.json oauth_creds.json id_rsa id_dsa id_ecdsa id_ed25519
        *.pem *.key *.p12 *.pfx *.kdbx
    """,
}
# In a person's directory of settings, `.config`.
_IN_CONFIG = {"ars", "ars-acp", "zed", "opencode", "goose", "git", "nvim", "crush"}
# They show what has to be set, without the values.
_EXAMPLES = (".example", ".sample", ".template", ".dist")
_FITTING = {
    reason: re.compile("|".join(map(fnmatch.translate, names.split()))).match for reason, names in _NAMES.items()
}


def protected(path: str) -> Protected | None:
    """Why `path` is protected, if it is. It should be the real path below its root: what is above it does not count.

    A link may have another name than what it leads to: see `Files.real`.
    """
    parts = _parts(path)
    for above, part in zip(["", *parts], parts, strict=False):
        if above == ".config" and part in _IN_CONFIG:
            return Protected.SETTINGS
        for reason, fits in _FITTING.items():
            if fits(part) and not part.endswith(_EXAMPLES):
                return reason
    return None


def _parts(path: str) -> list[str]:
    visible = "".join(char for char in path if unicodedata.category(char) != "Cf")
    folded = unicodedata.normalize("NFKC", visible).casefold().replace("\\", "/")
    return [part.rstrip(". ") or part for part in folded.split("/")]
