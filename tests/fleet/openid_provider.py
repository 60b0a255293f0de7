"""A small OpenID provider that speaks HTTP: discovery, keys, codes with PKCE, tokens signed with RS256, userinfo."""

import base64
import hashlib
import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "fleet", "a secret of the client"


@cache
def key() -> rsa.RSAPrivateKey:
    """Give the key of all providers: a tenth of a second to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider:
    """Whoever comes is `claims`; what is wrong on purpose is set on it."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {"sub": "1", "preferred_username": "kim"}
        self.key = key()
        self.signing_key: Any = self.key
        self.audience, self.userinfo_sub = CLIENT, None
        self.forged: dict[str, Any] = {}  # of the token, signed as the others are
        self.asked: list[dict[str, str]] = []
        self.answers: dict[str, Any] = {}  # in place of its own, by path
        self.keys: list[Any] | None = None  # the set, in place of its own
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer(self, dict_of(urlsplit(self.path).query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.answer(self, dict_of(body))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: Any, sent: dict[str, str]) -> None:
        path = urlsplit(handler.path).path
        if path == "/authorize":
            self.asked.append(sent)
            code = f"code-{len(self.asked)}"
            self._codes[code] = sent
            handler.send_response(302)
            handler.send_header(
                "Location", f"{sent['redirect_uri']}?{urlencode({'code': code, 'state': sent['state']})}"
            )
            handler.end_headers()
            return
        status, body = self._json(path, sent, handler.headers.get("Authorization", ""))
        content = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _json(self, path: str, sent: dict[str, str], shown: str) -> tuple[int, Any]:
        if path in self.answers:
            return 200, self.answers[path]
        if path == "/.well-known/openid-configuration":
            places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            config = {name: f"{self.issuer}/{place}" for name, place in places.items()}
            methods = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
            return 200, {"issuer": self.issuer, "userinfo_endpoint": f"{self.issuer}/userinfo", **config, **methods}
        if path == "/keys":
            return 200, {"keys": [self.public_key()] if self.keys is None else self.keys}
        if path == "/token":
            return self._token(sent)
        if path == "/userinfo" and shown == "Bearer access":
            return 200, {**self.claims, "sub": self.userinfo_sub or self.claims["sub"]}
        return 404, {}

    def public_key(self, kid: str | None = "one") -> dict[str, Any]:
        """Give the key that tokens are signed with, under a name or none."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {**public, "alg": "RS256", **({} if kid is None else {"kid": kid})}

    def _token(self, sent: dict[str, str]) -> tuple[int, Any]:
        asked = self._codes.pop(sent["code"], {})
        digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        known = (sent.get("client_id"), sent.get("client_secret")) == (CLIENT, SECRET)
        if not known or asked.get("code_challenge") != challenge:
            return 400, {"error": "invalid_grant"}
        times = {"iat": int(time.time()), "exp": int(time.time()) + 300}
        claims = {**self.claims, "iss": self.issuer, "aud": self.audience, **times, **self.forged}
        signed = jwt.encode(claims, self.signing_key, "RS256", headers={"kid": "one"})
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": signed}


def dict_of(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
