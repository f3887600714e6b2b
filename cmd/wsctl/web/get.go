package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
)

// MaxAnswer bounds what is read of an HTTP answer, in bytes.
const MaxAnswer = 1 << 20

// Get asks by GET, with the token if there is one, and returns what is answered with 200: at
// most MaxAnswer bytes, and within the time that it may take.
func Get(ctx context.Context, client *http.Client, u *url.URL, token string, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, exit.As(exit.Unavailable, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, MaxAnswer))
	if err != nil {
		return nil, exit.As(exit.Unavailable, err)
	}
	if answer.StatusCode != http.StatusOK {
		said := strings.TrimSpace(string(body))
		if said == "" {
			return nil, errors.New(answer.Status)
		}
		return nil, fmt.Errorf("%s: %s", answer.Status, said)
	}
	return body, nil
}
