package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
)

func (d *dev) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(d.cluster.Issuer.JWKS())
}

// token issues a token to whoever asks.
func (d *dev) token(w http.ResponseWriter, r *http.Request) {
	subject, err := devSubject(r.URL.Query())
	if err == nil {
		var token string
		if token, err = d.cluster.Issuer.Mint(subject); err == nil {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(token))
			return
		}
	}
	writeProblem(w, http.StatusBadRequest, "bad_request", err.Error())
}

// tokenParameters are what a token may be asked for.
func tokenParameters() []string {
	names := []string{"tenant", "app", "dbCode", "regionCode", "ttl", "access", "document", "domain"}
	for _, limit := range authn.LimitClaims {
		names = append(names, limit.Name)
	}
	return names
}

func devSubject(q url.Values) (s authn.Subject, err error) {
	known := tokenParameters()
	for key := range q {
		if !slices.Contains(known, key) {
			return s, fmt.Errorf("%s: no such parameter: expected any of %s", key, strings.Join(known, ", "))
		}
	}
	get := func(key, fallback string) string {
		if q.Has(key) {
			return q.Get(key)
		}
		return fallback
	}
	s = authn.Subject{
		Tenant: docid.Tenant(get("tenant", "dev")), App: docid.App(get("app", "demo")),
		License: docid.LicenseRegion(get("dbCode", "aws-eu-west-1")), RegionCode: q.Get("regionCode"), Domains: q["domain"], Documents: q["document"],
	}
	if s.TTL, err = devTTL(get("ttl", "1h")); err != nil {
		return s, err
	}
	switch access := q.Get("access"); access {
	case "", "readwrite":
	case "readonly":
		s.ReadOnly = true
	default:
		return s, fmt.Errorf("access=%q: expected readonly or readwrite", access)
	}
	for _, limit := range authn.LimitClaims {
		n, err := strconv.Atoi(get(limit.Name, "0"))
		if err != nil || n < 0 {
			return s, fmt.Errorf("%s=%q: expected a number, 0 for no limit", limit.Name, q.Get(limit.Name))
		}
		*limit.Field(&s.Limits) = n
	}
	return s, nil
}

// devTTL reads a lifetime: a duration such as 90s, or seconds.
func devTTL(s string) (time.Duration, error) {
	if seconds, err := strconv.Atoi(s); err == nil {
		s = strconv.Itoa(seconds) + "s"
	}
	ttl, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("ttl=%q: expected a duration such as 90s or 1h, or seconds", s)
	}
	if ttl == 0 {
		ttl = -time.Nanosecond // what lives no time has expired
	}
	return ttl, nil
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// randomSuffix makes names unique.
func randomSuffix() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
