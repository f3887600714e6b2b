// Issuer signs tokens for whoever asks at /dev/token?dbCode=aws-us-east-1, where
// your backend would look who its user is, and publishes its key at /jwks.json.
package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log"
	"net/http"
	"os"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: issuer ADDRESS")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	issuer, err := authn.NewIssuer(key, "")
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/jwks.json", func(w http.ResponseWriter, _ *http.Request) { w.Write(issuer.JWKS()) })
	http.HandleFunc("/dev/token", func(w http.ResponseWriter, r *http.Request) {
		license := cmp.Or(r.URL.Query().Get("dbCode"), "aws-eu-west-1")
		token, err := issuer.Mint(authn.Subject{Tenant: "acme", App: "notes", License: docid.LicenseRegion(license)})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write([]byte(token))
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
