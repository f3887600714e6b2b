package authn

// Limits are an app's plan. Zero means that the token sets no limit.
type Limits struct {
	MaxConnections int
	MaxDocuments   int
	MaxUsersPerDoc int
	OpsPerMinute   int
}

// LimitClaim is a limit that tokens may set: a row of LimitClaims.
type LimitClaim struct {
	Name  string // within the claim limits, and of the parameter of /dev/token
	Flag  string // of wsctl token
	Of    string // what is limited
	Field func(*Limits) *int
}

// LimitClaims are all limits that tokens may set. Tokens are read, issued and described by
// them, so a further one is a row here, and one place that applies it: docs/quota.md.
var LimitClaims = []LimitClaim{
	{"maxConnections", "max-connections", "the app", func(l *Limits) *int { return &l.MaxConnections }},
	{"maxDocuments", "max-documents", "the app", func(l *Limits) *int { return &l.MaxDocuments }},
	{"maxUsersPerDoc", "max-users-per-doc", "each document", func(l *Limits) *int { return &l.MaxUsersPerDoc }},
	{"opsPerMinute", "ops-per-minute", "the app", func(l *Limits) *int { return &l.OpsPerMinute }},
}

// Set returns the limits that are set, by their names in tokens.
func (l Limits) Set() map[string]int {
	set := make(map[string]int)
	for _, claim := range LimitClaims {
		if n := *claim.Field(&l); n != 0 {
			set[claim.Name] = n
		}
	}
	return set
}
