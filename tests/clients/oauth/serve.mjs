// An identity provider whose access tokens are JWTs. Prints where it listens; then answers each
// line of JSON on its standard input with one line:
//     {"claims": {...}, "expires": 60, "kid": "..."}   a token
//     {"rotate": true}                                  the id of a new key, which signs from now on
//     {"count": "/userinfo"}                            how often a path was asked for
// With the argument `bare` it has no userinfo endpoint.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import mock from "oauth2-mock-server";

const bare = process.argv[2] === "bare";
const asked = {};
const { issuer, service } = new mock.OAuth2Server();
let kid = (await issuer.keys.generate("RS256")).kid;

function payloadOf(request) {
  const token = (request.headers.authorization ?? "").split(" ")[1] ?? "";
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "e30", "base64url").toString());
}

service.on("beforeUserinfo", (response, request) => {
  const { sub } = payloadOf(request);
  response.statusCode = sub ? 200 : 401;
  response.body = sub ? { sub, email: `${sub}@example.com` } : { error: "invalid_token" };
});

function describeBare(response) {
  const url = issuer.url;
  response.setHeader("Content-Type", "application/json");
  response.end(
    JSON.stringify({
      issuer: url,
      authorization_endpoint: `${url}/authorize`,
      token_endpoint: `${url}/token`,
      jwks_uri: `${url}/jwks`,
    }),
  );
}

const server = createServer((request, response) => {
  const path = request.url.split("?")[0];
  asked[path] = (asked[path] ?? 0) + 1;
  if (bare && path === "/.well-known/openid-configuration") {
    describeBare(response);
  } else {
    service.requestHandler(request, response);
  }
});

async function answer({ claims, expires, kid: wanted, rotate, count }) {
  if (rotate) {
    kid = (await issuer.keys.generate("RS256")).kid;
    return kid;
  }
  if (count) {
    return asked[count] ?? 0;
  }
  return issuer.buildToken({
    kid: wanted ?? kid,
    expiresIn: expires ?? 3600,
    scopesOrTransform: (header, payload) => Object.assign(payload, claims),
  });
}

server.listen(0, "127.0.0.1", () => {
  issuer.url = `http://127.0.0.1:${server.address().port}`;
  console.log(issuer.url);
});
const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
server.closeAllConnections();
server.close();
