// oidc-provider, the certified implementation of OpenID Connect for Node.js, as an issuer: node issuer.mjs PORT PUBLIC_URL
// DIRECTORY [apart]. DIRECTORY has node_modules; apart: claims are at the userinfo endpoint alone. Who signs in is whom one
// says, with whatever password; his groups are in groups.json of the working directory, read each time. Says "ready" when it
// listens.
import {createRequire} from "node:module";
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const [port, publicUrl, place, apart] = process.argv.slice(2);
const {default: Provider} = await import(pathToFileURL(createRequire(`${place}/`).resolve("oidc-provider")));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{client_id: "pgseal", client_secret: "the-secret-of-the-test", redirect_uris: [`${publicUrl}/api/v1/sign-in/callback`],
    post_logout_redirect_uris: [`${publicUrl}/`], grant_types: ["authorization_code"], response_types: ["code"]}],
  claims: {openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"]},
  scopes: ["openid", "email", "groups"],
  conformIdTokenClaims: apart === "apart", // else they are in the ID token, as most issuers have them
  pkce: {required: () => true, methods: ["S256"]},
  features: {devInteractions: {enabled: true}, rpInitiatedLogout: {enabled: true}},
  findAccount: (_, id) => ({accountId: id, claims: () => ({sub: id, email: `${id}@example.com`, email_verified: true,
    groups: JSON.parse(readFileSync("groups.json"))[id] || []})}),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
