// Package tokens signs tokens for wsnode in a backend in Go; sign.mjs does in Node.
package tokens

import (
	"time"

	"github.com/wsnode/wsnode/authn"
)

// ReadKey reads a private key from PEM. The issuer's JWKS method is the document that
// nodes verify tokens with.
func ReadKey(pem []byte) (*authn.Issuer, error) {
	key, err := authn.ParseSigningKey(pem)
	if err != nil {
		return nil, err
	}
	return authn.NewIssuer(key, "")
}

// ForDocument signs a token with which a user may open one document. It is good for
// ten minutes: it is read when a client connects, not afterwards.
func ForDocument(issuer *authn.Issuer, user, document string) (string, error) {
	return issuer.Mint(authn.Subject{
		Tenant: "acme", App: "notes", License: "aws-eu-west-1",
		Documents: []string{document}, TTL: 10 * time.Minute,
		Extra: map[string]any{"sub": user},
	})
}
