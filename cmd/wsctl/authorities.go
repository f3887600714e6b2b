package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"

	"github.com/spf13/pflag"
)

// authorities are the certificate authorities of the nodes' public URLs, for the
// commands that come as clients do.
type authorities struct{ file string }

func (a *authorities) register(fl *pflag.FlagSet) {
	fl.StringVar(&a.file, "ca", "", "file with the CA certificates of the URLs (default: the system's)")
}

// roots are nil for the system's.
func (a *authorities) roots() (*x509.CertPool, error) {
	if a.file == "" {
		return nil, nil
	}
	content, err := os.ReadFile(a.file)
	if err != nil {
		return nil, wrongFlag("ca", "%v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, wrongFlag("ca", "%s: expected certificates in PEM", a.file)
	}
	return pool, nil
}

// client is an HTTP client that believes them.
func (a *authorities) client() (*http.Client, error) {
	roots, err := a.roots()
	if err != nil || roots == nil {
		return http.DefaultClient, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}, nil
}
