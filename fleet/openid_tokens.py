"""What an OpenID provider signed: whether it did, for this server, now; and when it saw the person.

Signed with a key of its key set, by an algorithm whose keys are public; the key's name may be missing on either side.
"""

import time
from collections.abc import Iterator
from typing import Any, TypeGuard

import jwt
from allauth.socialaccount.internal.jwtkit import verify_jti
from allauth.socialaccount.providers.oauth2.client import OAuth2Error

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
CLOCKS_APART = 60  # seconds that the provider's clock and ours may differ


def claims_of(signed: str, keys: Any, issuer: str, audience: str) -> dict[str, Any]:
    """Give what an id_token says. Raise OAuth2Error."""
    try:
        claims = _checked(signed, keys, issuer, audience)
    except (jwt.ImmatureSignatureError, jwt.ExpiredSignatureError) as error:
        issued = jwt.decode(signed, options={"verify_signature": False})["iat"]
        off = round(issued - time.time())
        raise OAuth2Error(f"id_token: {error}. It was issued {abs(off)} s {_side(off)} now by this clock.") from error
    except jwt.PyJWTError as error:
        raise OAuth2Error(f"id_token: {error}") from error
    verify_jti(claims)
    return claims


def _side(seconds: int) -> str:
    return "after" if seconds > 0 else "before"


def _checked(signed: str, keys: Any, issuer: str, audience: str) -> dict[str, Any]:
    header = jwt.get_unverified_header(signed)
    algorithm = header["alg"]
    if algorithm not in ALGORITHMS:
        raise OAuth2Error(f"id_token is signed with {algorithm}: {', '.join(ALGORITHMS)} are taken")
    wrong: jwt.PyJWTError = jwt.InvalidKeyError("no key of the provider's set fits")
    for key in _fitting(keys, algorithm, header.get("kid")):
        try:
            return jwt.decode(
                signed,
                key,
                algorithms=[algorithm],
                issuer=issuer,
                audience=audience,
                leeway=CLOCKS_APART,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.InvalidSignatureError as error:
            wrong = error
    raise wrong


def _fitting(keys: Any, algorithm: str, kid: Any) -> Iterator[jwt.PyJWK]:
    """Give the keys that can have signed; a name that both sides tell is the same."""
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, dict) or key.get("alg", algorithm) != algorithm or key.get("use", "sig") != "sig":
            continue
        if kid is None or key.get("kid", kid) == kid:
            try:
                yield jwt.PyJWK(key, algorithm)
            except (jwt.PyJWTError, ValueError, TypeError):  # of another kind, or broken: another may fit
                continue


def age_of(claims: dict[str, Any]) -> float | None:
    """Give how long before the token the provider saw the person, in seconds by its own clock; None = not told."""
    issued, seen = claims.get("iat"), claims.get("auth_time")
    return max(0.0, issued - seen) if _is_number(issued) and _is_number(seen) else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
