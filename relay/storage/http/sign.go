package http

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// signer signs requests after Standard Webhooks 1.0.0, symmetric signatures (v1):
// HMAC-SHA256 of id.timestamp.content, for each secret, so that they can be rotated.
// The content is the value of Content-Digest: a body of 100 MB need not be held by
// whoever checks the signature first.
type signer struct {
	secrets atomic.Pointer[[][]byte] // nil: nothing is signed
}

func (s *signer) sign(h http.Header, content string, now time.Time) error {
	secrets := s.secrets.Load()
	if secrets == nil {
		return nil
	}
	id, at := "msg_"+rand.Text(), strconv.FormatInt(now.Unix(), 10)
	var signatures []string
	for _, secret := range *secrets {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.%s", id, at, content)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", at)
	h.Set("webhook-signature", strings.Join(signatures, " "))
	return nil
}

// parseSecrets reads the lines of a file. Errors show none of them.
func parseSecrets(text string) ([][]byte, error) {
	var secrets [][]byte
	for n, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		coded, ok := strings.CutPrefix(line, "whsec_")
		secret, err := base64.StdEncoding.DecodeString(coded)
		if !ok || err != nil || len(secret) < 24 || len(secret) > 64 {
			return nil, fmt.Errorf("line %d: expected whsec_ and 24 to 64 bytes in base64", n+1)
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, errors.New("expected a secret")
	}
	return secrets, nil
}
