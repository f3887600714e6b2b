// Package docid is the only place that spells a document as a URL path, a
// registry key and a NATS subject. All spellings are injective: two documents
// never share one, whatever characters their names hold.
package docid

// Tenant is the owner of a token: 1 to 64 of letters, digits, '.', '_', '-'.
type Tenant string

// App is one application of a tenant, with the same alphabet.
type App string

// LicenseRegion names the registry that holds an app's pins, such as
// "aws-eu-west-1": the token's dbCode. Lower-case letters, digits and '-'.
type LicenseRegion string

// Region names a WebSocket region, such as "eu-central-1": one NATS cluster and the
// nodes that use it.
type Region string

// NodeID names a node; no two running nodes share one.
type NodeID string

// AppID is the scope in which plan limits hold.
type AppID struct {
	License LicenseRegion
	Tenant  Tenant
	App     App
}

// Document is a document's identity. It is comparable and serves as a map key:
// two tokens that name different license regions name different documents.
type Document struct {
	License LicenseRegion
	Tenant  Tenant
	App     App
	Name    string
}

// AppID returns the app that the document belongs to.
func (d Document) AppID() AppID {
	return AppID{License: d.License, Tenant: d.Tenant, App: d.App}
}

// String spells the document for logs and error texts. It is not injective.
func (d Document) String() string {
	return string(d.License) + "/" + string(d.Tenant) + "/" + string(d.App) + "/" + d.Name
}

// String spells the app for logs and error texts.
func (a AppID) String() string {
	return string(a.License) + "/" + string(a.Tenant) + "/" + string(a.App)
}

// ValidID reports whether s can be a tenant or an app.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isWord(c) && c != '.' {
			return false
		}
	}
	return true
}

// ValidRegion reports whether s can name a region, of either kind: 1 to 64 of
// lower-case letters, digits and '-'.
func ValidRegion(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
