// A token for a user: `node mint.mjs ann`, with the secret in MINGLE_JWT_SECRET.

import { createHmac } from "node:crypto";

export function mint(user, secret, seconds = 3600) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: user, aud: "mingle", exp: Math.floor(Date.now() / 1000) + seconds };
  const body = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

if (process.argv[1] === import.meta.filename) console.log(mint(process.argv[2], process.env.MINGLE_JWT_SECRET));
