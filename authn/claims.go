package authn

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/wsnode/wsnode/docid"
)

// skew is how far the clocks of issuer and node may be apart.
const skew = 30 * time.Second

// claims are the members of a token's payload, undecoded.
type claims map[string]json.RawMessage

var errType = errors.New("wrong type")

// has reports whether a claim is there; null counts as absent.
func (c claims) has(name string) bool {
	raw, ok := c[name]
	return ok && string(raw) != "null"
}

// text reads a claim that must be a string if it is there.
func (c claims) text(name string) (value string, present bool, err error) {
	if !c.has(name) {
		return "", false, nil
	}
	if c[name][0] != '"' {
		return "", true, errType
	}
	text, err := jsontext.AppendUnquote(nil, c[name])
	if err != nil {
		return "", true, errType
	}
	return string(text), true, nil
}

// texts reads a claim that is a string or an array of strings.
func (c claims) texts(name string) ([]string, error) {
	if !c.has(name) {
		return nil, nil
	}
	if one, _, err := c.text(name); err == nil {
		return []string{one}, nil
	}
	var items []json.RawMessage
	if json.Unmarshal(c[name], &items) != nil {
		return nil, errType
	}
	values := make([]string, 0, len(items))
	for i := range items {
		one, present, err := claims{"": items[i]}.text("")
		if err != nil || !present {
			return nil, errType
		}
		values = append(values, one)
	}
	return values, nil
}

// bad refuses a claim that is missing, or is not what is expected.
func (c claims) bad(name, expected string) error {
	if !c.has(name) {
		return badClaim(name, "missing, expected %s", expected)
	}
	return badClaim(name, "expected %s", expected)
}

// alias reads a claim that has two names; both and different is an error. Without a
// default it is required.
func (c claims) alias(name, other, byDefault string, valid func(string) bool, expected string) (string, error) {
	a, hasA, errA := c.text(name)
	b, hasB, errB := c.text(other)
	if !hasA {
		a = b
	}
	switch {
	case !hasA && !hasB && byDefault != "":
		return byDefault, nil
	case !hasA && !hasB:
		return "", badClaim(name, "missing, expected %s", expected)
	case errA != nil || errB != nil || !valid(a):
		return "", badClaim(name, "expected %s", expected)
	case hasB && a != b:
		return "", badClaim(name, "expected the same as in %s", other)
	}
	return a, nil
}

// date reads a NumericDate (RFC 7519): seconds, possibly with a fraction.
func (c claims) date(name string) (t time.Time, present bool, err error) {
	if !c.has(name) {
		return time.Time{}, false, nil
	}
	raw := c[name]
	if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return time.Time{}, true, errType
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	// Beyond the year 9999 stands a mistake, such as milliseconds.
	if err != nil || math.Abs(seconds) > 253402300799 {
		return time.Time{}, true, errType
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true, nil
}

// rules are the parts of the claims table that an operator configures.
type rules struct {
	issuer   pattern // zero: not checked
	audience string  // Any: not checked
	scope    string  // the same
	defaults Defaults
	only     docid.Tenant // the only one that may be named; empty: all
}

// judge reads the whole claims table into a Grant. It runs before the signature
// is checked, so that refusing a stale or foreign token costs no public-key work
// and fetches no keys.
func (r *rules) judge(c claims, now time.Time) (*Grant, error) {
	g := &Grant{}
	for _, step := range []func(*Grant, claims) error{
		func(g *Grant, c claims) error { return readTimes(g, c, now) },
		r.readIdentity,
		r.checkIssuer,
		r.checkAudience,
		readLimits,
		readOrigins,
		readAccess,
	} {
		if err := step(g, c); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// What is expected of some claims, in words for the operator.
const (
	aTime = "seconds since 1970, as a number"
	anID  = "1 to 64 of letters, digits, '.', '_', '-'"
)

// readTimes checks exp, nbf and iat.
func readTimes(g *Grant, c claims, now time.Time) error {
	expires, present, err := c.date("exp")
	if err != nil || !present {
		return c.bad("exp", aTime)
	}
	g.Expires = expires
	for _, name := range []string{"nbf", "iat"} {
		from, _, err := c.date(name)
		if err != nil {
			return c.bad(name, aTime)
		}
		if from.After(g.notBefore) {
			g.notBefore = from
		}
	}
	return g.checkTime(now)
}

// checkTime says whether the grant holds now.
func (g *Grant) checkTime(now time.Time) error {
	if !now.Before(g.Expires.Add(skew)) {
		return invalid(Expired, "%v ago", now.Sub(g.Expires).Round(time.Second))
	}
	if now.Before(g.notBefore.Add(-skew)) {
		return invalid(NotYetValid, "only in %v", g.notBefore.Sub(now).Round(time.Second))
	}
	return nil
}

// readIdentity reads who the token is for and where its app's pins live.
func (r *rules) readIdentity(g *Grant, c claims) error {
	tenant, err := c.alias("tenantId", "tenantid", string(r.defaults.Tenant), docid.ValidID, anID)
	if err != nil {
		return err
	}
	if r.only != "" && tenant != string(r.only) {
		return badClaim("tenantId", "expected %s, for which alone the secret speaks", r.only)
	}
	app, present, err := c.text("appId")
	if !present {
		app = string(r.defaults.App)
	}
	if err != nil || !docid.ValidID(app) {
		return c.bad("appId", anID)
	}
	license, err := c.alias("dbCode", "licenseRegionCode", string(r.defaults.License), docid.ValidRegion, "a license region such as aws-eu-west-1")
	if err != nil {
		return err
	}
	region, _, err := c.text("regionCode")
	if err != nil {
		return c.bad("regionCode", "a string")
	}
	// A wish, not a right: what cannot name a WebSocket region is no wish.
	if docid.ValidRegion(region) && !strings.HasPrefix(region, "aws-") {
		g.RegionCode = region
	}
	g.Tenant, g.App, g.License = docid.Tenant(tenant), docid.App(app), docid.LicenseRegion(license)
	return nil
}

func (r *rules) checkIssuer(g *Grant, c claims) error {
	if r.issuer.empty() {
		return nil
	}
	issuer, _, err := c.text("iss")
	if err != nil || issuer != r.issuer.expand(g.Tenant) {
		return invalid(Issued, "expected %s", r.issuer.text)
	}
	return nil
}

// checkAudience checks aud, and scope or scp.
func (r *rules) checkAudience(_ *Grant, c claims) error {
	audiences, err := c.texts("aud")
	if r.audience != Any && (err != nil || !contains(audiences, r.audience)) {
		return invalid(Audience, "expected %s in aud", r.audience)
	}
	if r.scope == Any {
		return nil
	}
	for _, name := range []string{"scope", "scp"} {
		scopes, err := c.texts(name)
		if err != nil {
			return invalid(Scope, "expected a string or an array of strings in %s", name)
		}
		for _, words := range scopes {
			if contains(strings.Fields(words), r.scope) {
				return nil
			}
		}
	}
	return invalid(Scope, "expected %s in scope or scp", r.scope)
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}

// readLimits reads the app's plan: an object, or a string that holds its JSON,
// as issuers write it that can only mint flat claims.
func readLimits(g *Grant, c claims) error {
	if !c.has("limits") {
		return nil
	}
	raw := c["limits"]
	if inner, _, err := c.text("limits"); err == nil {
		if inner == "" {
			return nil
		}
		raw = json.RawMessage(inner)
	}
	plan, err := parseObject(raw)
	if err != nil {
		return c.bad("limits", "an object, or a string that holds its JSON")
	}
	for _, limit := range LimitClaims {
		if !plan.has(limit.Name) {
			continue
		}
		var n float64
		if json.Unmarshal(plan[limit.Name], &n) != nil || n < 0 || n > math.MaxInt32 || n != math.Trunc(n) {
			return badClaim("limits", "expected a whole number from 0 on in %s", limit.Name)
		}
		*limit.Field(&g.Limits) = int(n)
	}
	return nil
}

// readOrigins reads the allowed domains. A domain that nothing can match still
// counts: a typing error must not open the app to every site.
func readOrigins(g *Grant, c claims) error {
	domains, err := c.texts("allowedDomains")
	if err != nil {
		return c.bad("allowedDomains", "a string or an array of strings")
	}
	for _, name := range []string{"allowed_domain_1", "allowed_domain_2", "allowed_domain_3"} {
		domain, present, err := c.text(name)
		if err != nil {
			return c.bad(name, "a string")
		}
		if present {
			domains = append(domains, domain)
		}
	}
	for _, domain := range domains {
		if domain = strings.TrimSpace(domain); domain != "" {
			g.domains = append(g.domains, parseDomain(domain))
		}
	}
	return nil
}

// readAccess reads the session's access and the documents granted.
func readAccess(g *Grant, c claims) error {
	access, err := readMode(c)
	if err != nil {
		return c.bad("access", "readonly or readwrite")
	}
	g.ReadOnly = access == ReadOnly
	raw, present := c["documents"]
	if !present {
		return readTiptap(g, c)
	}
	for _, name := range []string{tiptapAllowed, tiptapReadOnly, tiptapComment} {
		if c.has(name) {
			return badClaim(name, "expected no documents beside it")
		}
	}
	var entries []json.RawMessage
	if json.Unmarshal(raw, &entries) != nil || entries == nil {
		return badClaim("documents", "expected an array")
	}
	g.restricted = true
	for i, entry := range entries {
		rule, err := parseDocumentRule(entry)
		if err != nil {
			return badClaim("documents", `entry %d: expected a name, a prefix such as notes/*, or {"name","access"} without other members`, i+1)
		}
		g.documents = append(g.documents, rule)
	}
	return nil
}

// readMode reads an access member. An unknown word is an error: guessing would
// give away writing.
func readMode(c claims) (Access, error) {
	word, _, err := c.text("access")
	switch {
	case err != nil:
		return ReadOnly, err
	case word == "" || word == "readwrite":
		return ReadWrite, nil
	case word == "readonly":
		return ReadOnly, nil
	}
	return ReadOnly, errType
}
