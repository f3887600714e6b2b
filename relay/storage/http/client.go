package http

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/relay/storage"
)

// newClient makes a client that follows no redirect and connects to no address that
// a backend of the operator's cannot have. publicOnly is for a host that is not the
// operator's alone.
func newClient(firstByte time.Duration, publicOnly bool) *http.Client {
	dialer := &net.Dialer{
		Timeout: 10 * time.Second,
		// After the name is resolved: a name proves nothing.
		Control: func(_, address string, _ syscall.RawConn) error { return permitted(address, publicOnly) },
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           dialer.DialContext, // and no proxy, whose connections would not be checked
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   32,
			IdleConnTimeout:       90 * time.Second,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: firstByte,
			ExpectContinueTimeout: time.Second,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// The addresses at which clouds hand out credentials and that are not link-local.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192"),
	netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("168.63.129.16"),
}

// permitted refuses link-local and metadata addresses always, and private ones if
// the address must be public.
func permitted(address string, publicOnly bool) error {
	host, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	ip := host.Addr().WithZone("").Unmap()
	bad := ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified()
	for _, metadata := range metadataAddresses {
		bad = bad || ip == metadata
	}
	if publicOnly {
		bad = bad || ip.IsPrivate() || ip.IsLoopback()
	}
	if bad {
		return fmt.Errorf("%w: %s is no address for a store", storage.ErrRefused, ip)
	}
	return nil
}

// retryAfter keeps requests back for as long as the backend asked with Retry-After.
type retryAfter struct {
	mu    sync.Mutex
	until time.Time // guarded by mu
}

// longestPause bounds what a backend may ask for.
const longestPause = 5 * time.Minute

// heed reads Retry-After of a 429 or 503: seconds or a date.
func (p *retryAfter) heed(answer *http.Response, now time.Time) {
	if answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusServiceUnavailable {
		return
	}
	text := answer.Header.Get("Retry-After")
	until := now
	if seconds, err := strconv.Atoi(text); err == nil {
		until = now.Add(min(time.Duration(seconds)*time.Second, longestPause))
	} else if date, err := http.ParseTime(text); err == nil {
		until = date
	}
	if until.After(now.Add(longestPause)) {
		until = now.Add(longestPause)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if until.After(p.until) {
		p.until = until
	}
}

// wait returns when requests may go on. A caller that cannot wait so long learns it
// at once.
func (p *retryAfter) wait(ctx context.Context) error {
	p.mu.Lock()
	rest := time.Until(p.until)
	p.mu.Unlock()
	if deadline, ok := ctx.Deadline(); ok && rest > 0 && time.Until(deadline) < rest {
		return fmt.Errorf("the backend asked to be left alone for another %s", rest.Round(time.Second))
	}
	pause.For(ctx, rest)
	return ctx.Err()
}
