"""A token for a user: `python mint.py ann`, with the secret in MINGLE_JWT_SECRET."""

import base64, hmac, json, os, sys, time


def mint(user, secret, seconds=3600):
    def part(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    claims = {"sub": user, "aud": "mingle", "exp": int(time.time()) + seconds}
    body = b".".join(part(json.dumps(each).encode()) for each in ({"alg": "HS256", "typ": "JWT"}, claims))
    return b".".join((body, part(hmac.digest(secret.encode(), body, "sha256")))).decode()


if __name__ == "__main__":
    print(mint(sys.argv[1], os.environ["MINGLE_JWT_SECRET"]))
