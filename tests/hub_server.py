"""A small Hub on the loopback: what huggingface_hub's client asks for when it uploads and downloads a model.

It keeps repositories in memory, as commits; knows accounts by their tokens; and breaks off where it is told.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from hub_card import card_errors  # type: ignore[import-not-found]  # pytest finds it beside this file

LARGE = (".safetensors", ".pt", ".bin", ".pth")


@dataclass
class Commit:
    message: str
    description: str
    files: dict[str, bytes]
    changed: list[str]

    @cached_property
    def oid(self):
        content = [(name, hashlib.sha1(data).hexdigest()) for name, data in sorted(self.files.items())]
        return hashlib.sha1(repr((self.message, content)).encode()).hexdigest()


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=lambda: {"main": []})

    @property
    def commits(self):
        return self.branches["main"]

    def files(self, branch="main"):
        commits = self.branches.get(branch, [])
        return commits[-1].files if commits else {}


class LocalHub(ThreadingHTTPServer):
    """`with LocalHub() as hub: …`; `hub.url` is its endpoint.

    Attributes:
        accounts: token -> name of the account.
        readers: tokens that may not write.
        repositories: by `OWNER/NAME`.
        breaks: connections to a path that this matches are dropped with no answer.
        fails: status of the answer to a path that the pattern beside it matches.
        requests: `METHOD path` of all requests.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.accounts = {"secret": "ana", "read-only": "ana"}
        self.readers = {"read-only"}
        self.repositories = {}
        self.objects = {}
        self.breaks = None
        self.fails = None
        self.requests = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A dropped connection is no news; any other error is a fault of this server."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LocalHub

    def log_message(self, *_):
        pass

    def do_any(self):
        self.path, query = urlsplit(self.path).path, urlsplit(self.path).query
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        hub, line = self.server, f"{self.command} {self.path}"
        hub.requests.append(line)
        if hub.breaks and re.search(hub.breaks, line):
            self.close_connection = True
            return
        if hub.fails and re.search(hub.fails[1], line):
            self._answer(hub.fails[0], {"error": "out of order"})
            return
        self.token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.account = hub.accounts.get(self.token)
        if self.token and self.account is None:
            self._refuse(401, "Invalid credentials in Authorization header")
            return
        for method, pattern, answer in ROUTES:
            found = re.fullmatch(pattern, self.path)
            if found and self.command in (method, "HEAD" if method == "GET" else method):
                answer(self, *map(unquote, found.groups()), body=body, query=query)
                return
        self._refuse(404, f"the local Hub does not know {line}")

    do_GET = do_HEAD = do_POST = do_PUT = do_any

    def _chunks(self):
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status, content, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status, message, code=""):
        self._answer(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    def _writer(self, owner):
        """Whether the account may write; answers if not."""
        if self.account is None:
            self._refuse(401, "Invalid username or password.")
        elif self.account != owner or self.token in self.server.readers:
            self._refuse(403, f"You don't have the rights to create a model under the namespace {owner}")
        else:
            return True
        return False

    def _repository(self, repo_id):
        """The repository if the account may see it; answers if not."""
        found = self.server.repositories.get(repo_id)
        if found is None or (found.private and self.account != repo_id.split("/")[0]):
            self._refuse(401 if self.account is None else 404, "Repository not found", "RepoNotFound")
            return None
        return found

    def create(self, body, query):
        asked = json.loads(body)
        if self.account is None:
            self._refuse(401, "Invalid username or password.")
            return
        owner = asked.get("organization") or self.account
        if not self._writer(owner):
            return
        repo_id = f"{owner}/{asked['name']}"
        url = f"{self.server.url}/{repo_id}"
        if repo_id in self.server.repositories:
            self._answer(409, {"error": "You already created this model repo", "url": url})
            return
        self.server.repositories[repo_id] = Repository(
            # The second is how older clients ask for it.
            private=asked.get("visibility") == "private" or bool(asked.get("private"))
        )
        first = Commit("initial commit", "", {".gitattributes": b"*.safetensors filter=lfs\n"}, [])
        self.server.repositories[repo_id].commits.append(first)
        self._answer(200, {"url": url, "name": repo_id})

    def branch(self, repo_id, branch, body, query):
        repository = self._repository(repo_id)
        if repository is None or not self._writer(repo_id.split("/")[0]):
            return
        if branch in repository.branches:
            self._answer(409, {"error": "Reference already exists"})
            return
        repository.branches[branch] = list(repository.commits)
        self._answer(200, {})

    def info(self, repo_id, branch, body, query):
        repository = self._repository(repo_id)
        if repository is None:
            return
        branch = branch or "main"
        if branch not in repository.branches:
            self._refuse(404, "Invalid rev id", "RevisionNotFound")
            return
        files = repository.files(branch)
        commits = repository.branches[branch]
        self._answer(
            200,
            {
                "id": repo_id,
                "sha": commits[-1].oid if commits else "0" * 40,
                "private": repository.private,
                "siblings": [{"rfilename": name} for name in sorted(files)],
            },
        )

    def tree(self, repo_id, branch, body, query):
        repository = self._repository(repo_id)
        if repository is not None:
            files = repository.files(branch)
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in sorted(files.items())
            ]
            self._answer(200, entries)

    def validate(self, body, query):
        errors = [{"message": message} for message in card_errors(json.loads(body)["content"])]
        self._answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, repo_id, branch, body, query):
        repository = self._repository(repo_id)
        if repository is None or not self._writer(repo_id.split("/")[0]):
            return
        files = repository.files(branch)
        modes = []
        for one in json.loads(body)["files"]:
            content, large = files.get(one["path"]), one["path"].endswith(LARGE)
            oid = None
            if content is not None:
                git = hashlib.sha1(b"blob %d\0" % len(content) + content)
                oid = (hashlib.sha256(content) if large else git).hexdigest()
            mode = "lfs" if large else "regular"
            modes.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._answer(200, {"files": modes})

    def batch(self, repo_id, body, query):
        if self._writer(repo_id.split("/")[0]):
            objects = [
                {
                    **one,
                    "actions": {"upload": {"href": f"{self.server.url}/lfs/{one['oid']}", "header": {}}},
                }
                for one in json.loads(body)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})

    def store(self, oid, body, query):
        if hashlib.sha256(body).hexdigest() != oid:
            self._refuse(400, "the content is not that of its digest")
            return
        self.server.objects[oid] = body
        self._answer(200, {})

    def commit(self, repo_id, branch, body, query):
        repository = self._repository(repo_id)
        if repository is None or not self._writer(repo_id.split("/")[0]):
            return
        files, changed, header = dict(repository.files(branch)), [], {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                header = value
                continue
            changed.append(value["path"])
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            else:
                assert item["key"] == "deletedFile", item["key"]
                del files[value["path"]]
        commit = Commit(header["summary"], header["description"], files, changed)
        url = f"{self.server.url}/{repo_id}/commit/{commit.oid}"
        answer = {"commitUrl": url, "commitOid": commit.oid}
        if "create_pr=1" in query:
            repository.branches["refs/pr/1"] = [*repository.branches[branch], commit]
            answer["pullRequestUrl"] = f"{self.server.url}/{repo_id}/discussions/1"
        else:
            repository.branches.setdefault(branch, []).append(commit)
        self._answer(200, answer)

    def resolve(self, repo_id, branch, name, body, query):
        repository = self._repository(repo_id)
        if repository is None:
            return
        if repository.gated and self.account != repo_id.split("/")[0]:
            self._refuse(403, "Access to this model is restricted", "GatedRepo")
            return
        named = {commit.oid: commit.files for commits in repository.branches.values() for commit in commits}
        files = named.get(branch, repository.files(branch))
        if name not in files:
            self._refuse(404, "Entry not found", "EntryNotFound")
            return
        commits = repository.branches.get(branch)
        oid = commits[-1].oid if commits else branch
        etag = f'"{hashlib.sha256(files[name]).hexdigest()}"'
        self._answer(200, files[name], X_Repo_Commit=oid, ETag=etag)

    def whoami(self, body, query):
        if self.account is None:
            self._refuse(401, "Invalid username or password.")
        else:
            self._answer(200, {"type": "user", "name": self.account, "orgs": []})


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("GET", r"/api/whoami-v2", Handler.whoami),
    ("POST", r"/api/repos/create", Handler.create),
    ("POST", r"/api/validate-yaml", Handler.validate),
    ("POST", rf"/api/models/{REPO}/branch/([^/]+)", Handler.branch),
    ("POST", rf"/api/models/{REPO}/preupload/([^/]+)", Handler.preupload),
    ("POST", rf"/api/models/{REPO}/commit/([^/]+)", Handler.commit),
    ("GET", rf"/api/models/{REPO}/revision/([^/]+)", Handler.info),
    ("GET", rf"/api/models/{REPO}/tree/([^/]+)", Handler.tree),
    ("GET", rf"/api/models/{REPO}()", Handler.info),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", r"/lfs/([0-9a-f]{64})", Handler.store),
    ("GET", rf"/{REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
)
