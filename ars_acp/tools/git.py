"""The command lines with which tools ask git: nothing of the repository's configuration starts a program."""

GIT = (
    "git",
    "--no-pager",
    "--no-optional-locks",
    "--literal-pathspecs",  # a path of the model is a path, no pathspec magic
    "-c", "core.fsmonitor=",
    "-c", "core.hooksPath=/dev/null",
    "-c", "protocol.allow=never",  # no remote helper for objects that a partial clone lacks
    "-c", "submodule.recurse=false",
    "-c", "grep.fullName=false",
)  # fmt: skip
