package authn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxKeySetBytes bounds an issuer's answer, decompressed.
const maxKeySetBytes = 1 << 20

// errNoKeySet says that the issuer was reached and has no such key set.
var errNoKeySet = errors.New("the issuer has no such key set")

// newHTTPClient makes the client for issuers. The keys' origin is the root of
// all trust here, hence a redirect may lead to another path of the same server
// and nowhere else.
func newHTTPClient(timeout time.Duration) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	// More than the fetches that unverified tokens can have under way: keys of a real
	// tenant must not wait for those of made-up ones.
	transport.MaxConnsPerHost = 256
	return &http.Client{
		Transport: transport,
		Timeout:   timeout,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.URL.Scheme != via[0].URL.Scheme || next.URL.Host != via[0].URL.Host {
				return errors.New("redirected to another server")
			}
			if len(via) > 3 {
				return errors.New("redirected too often")
			}
			return nil
		},
	}
}

// fetchKeySet reads and parses the key set at an address.
func fetchKeySet(ctx context.Context, client *http.Client, address string) ([]byte, []*publicKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("User-Agent", "wsnode")
	answer, err := client.Do(request)
	if whole := (*url.Error)(nil); errors.As(err, &whole) {
		err = whole.Err // the URL that it spells may hold secrets
	}
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, nil, fmt.Errorf("%w: HTTP %d", errNoKeySet, answer.StatusCode)
	default:
		return nil, nil, fmt.Errorf("HTTP %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySetBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > maxKeySetBytes {
		return nil, nil, fmt.Errorf("%w: more than %d bytes", errNotKeySet, maxKeySetBytes)
	}
	keys, err := parseKeySet(body)
	return body, keys, err
}

// withoutSecrets spells a URL for logs: an operator may have put a password or
// a key into it.
func withoutSecrets(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(unreadable URL)"
	}
	return u.Scheme + "://" + u.Host + u.Path
}
