package main

import (
	"net/netip"
	"time"

	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/overload"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/relay/ratelimit"
	"github.com/wsnode/wsnode/relay/ystore"
)

// limitFlags are the operator's limits. Each can be turned off with 0.
type limitFlags struct {
	proxies                           []string
	proxyProtocol                     bool
	refused, admitted, usage, health  int
	maxConnections, handshakes        int
	maxMemory                         int64
	ceilings                          quota.Plan
	opsPerMinute, claimsPerSecond     int
	awareness                         int
	messages, bytes, answers          float64
	maxMessageBytes, maxDocumentBytes int
	maxIncomingBytes                  int
	maxAppBytes                       int
	store                             ystore.Limits
}

func (f *limitFlags) register(fl *pflag.FlagSet) {
	rates, session := ratelimit.DefaultRates(), ratelimit.DefaultSessionRates()
	fl.StringArrayVar(&f.proxies, "trusted-proxy", nil, "CIDR of proxies whose X-Forwarded-For is believed; repeat for each")
	fl.IntVar(&f.refused, "refused-per-minute", rates.Refused.Count, "refused handshakes and failed discoveries per client address; 0: any number")
	fl.IntVar(&f.admitted, "admitted-per-minute", rates.Admitted.Count, "successful handshakes and discoveries per client address; 0: any number")
	fl.IntVar(&f.usage, "usage-per-minute", rates.Usage.Count, "requests of /usage per client address; 0: any number")
	fl.IntVar(&f.health, "health-per-minute", rates.Health.Count, "requests of /health per client address; 0: any number")

	fl.IntVar(&f.maxConnections, "max-connections", 0, "connections that this node can carry; from 80 % on it takes no new ones; 0: any number")
	fl.Int64Var(&f.maxMemory, "max-memory-bytes", 0, "memory that this node can use; from 80 % on it takes no new connections; 0: the container's limit, -1: any amount")
	fl.IntVar(&f.handshakes, "max-handshakes", 256, "handshakes that are handled at once; more queue briefly")

	fl.IntVar(&f.ceilings.MaxConnections, "max-app-connections", 0, "connections of one app, whatever its tokens say; 0: any number")
	fl.IntVar(&f.ceilings.MaxDocuments, "max-app-documents", 0, "live documents of one app, whatever its tokens say; 0: any number")
	fl.IntVar(&f.ceilings.MaxUsersPerDoc, "max-document-users", 0, "sessions of one document, whatever tokens say; 0: any number")
	fl.IntVar(&f.awareness, "max-document-awareness", 5000, "awareness clients of one document; 0: any number")
	fl.IntVar(&f.opsPerMinute, "max-app-ops-per-minute", 0, "operations of one app, whatever its tokens say; 0: any number")
	fl.IntVar(&f.claimsPerSecond, "max-app-claims-per-second", 500, "documents that one app may open on this node; 0: any number")

	fl.Float64Var(&f.messages, "session-messages-per-second", session.Messages, "messages that a session may send in the long run; faster ones are slowed down; 0: any number")
	fl.Float64Var(&f.bytes, "session-bytes-per-second", session.Bytes, "bytes that a session may send in the long run; 0: any number")
	fl.Float64Var(&f.answers, "session-answer-bytes-per-second", session.Answers, "bytes of SyncStep2 that a session may ask for in the long run; 0: any number")

	fl.IntVar(&f.maxMessageBytes, "max-message-bytes", 16<<20, "largest update that a client may send")
	fl.IntVar(&f.maxDocumentBytes, "max-document-bytes", 256<<20, "largest document, and largest SyncStep2 that a client may send")
	fl.IntVar(&f.maxAppBytes, "max-app-bytes", 0, "memory of all documents of one app that are open on this node, in bytes, whatever its tokens say: client ids and structs count for what they take; 0: any amount")
	fl.IntVar(&f.maxIncomingBytes, "max-incoming-bytes", 1<<30, "unfinished large messages of all clients of this node together, of which one app may have a quarter, and as much of answers that they do not read; at least twice --max-document-bytes; 0: any number")
	fl.IntVar(&f.store.MaxClients, "max-document-clients", 1<<17, "Yjs client ids in one document; 0: any number")
	fl.IntVar(&f.store.MaxDeleteRanges, "max-update-delete-ranges", 1<<19, "new delete ranges in one update; 0: any number")
	fl.IntVar(&f.store.MaxPendingStructs, "max-pending-structs", 1<<19, "structs of one document that wait for others; 0: any number")
}

// listener says who brings connections.
func (f *limitFlags) listener(c *relay.Options) error {
	if f.proxyProtocol && len(f.proxies) == 0 {
		return wrongFlag("proxy-protocol", "expected a --trusted-proxy beside it: nobody else may say whose a connection is")
	}
	c.ProxyProtocol = f.proxyProtocol
	return nil
}

// apply checks the limits and puts them into the node's configuration. fl tells
// which were given.
func (f *limitFlags) apply(c *relay.Config, fl *pflag.FlagSet) error {
	for _, flag := range []struct {
		name  string
		bytes int
	}{{"max-message-bytes", f.maxMessageBytes}, {"max-document-bytes", f.maxDocumentBytes}} {
		if flag.bytes < 1<<10 {
			return wrongFlag(flag.name, "%d: expected at least 1024 bytes", flag.bytes)
		}
	}
	if least := 2 * f.maxDocumentBytes; f.maxIncomingBytes > 0 && f.maxIncomingBytes < least && fl.Changed("max-incoming-bytes") {
		return wrongFlag("max-incoming-bytes", "%d: expected at least %d, twice --max-document-bytes, or 0", f.maxIncomingBytes, least)
	}
	if f.handshakes < 1 {
		return wrongFlag("max-handshakes", "%d: expected at least 1", f.handshakes)
	}
	var proxies []netip.Prefix
	for _, value := range f.proxies {
		prefix, err := netip.ParsePrefix(value)
		if err != nil {
			return wrongFlag("trusted-proxy", "%q: expected a CIDR such as 10.0.0.0/8", value)
		}
		proxies = append(proxies, prefix)
	}
	perMinute := func(count int) ratelimit.Rate {
		if count <= 0 {
			return ratelimit.Rate{}
		}
		return ratelimit.Rate{Count: count, Per: time.Minute}
	}
	rates := ratelimit.RateConfig{
		Refused: perMinute(f.refused), Admitted: perMinute(f.admitted), Usage: perMinute(f.usage), Health: perMinute(f.health),
	}
	if f.refused > 0 {
		rates.RefusedToken = ratelimit.DefaultRates().RefusedToken
	}
	c.Sessions.MaxMessageBytes, c.Sessions.MaxDocumentBytes = f.maxMessageBytes, f.maxDocumentBytes
	if c.Conns.MaxIncomingBytes = -1; f.maxIncomingBytes > 0 {
		c.Conns.MaxIncomingBytes = max(f.maxIncomingBytes, 2*f.maxDocumentBytes)
	}
	c.Store = f.store
	c.Store.MaxBytes = f.maxDocumentBytes
	c.Limits = relay.Limits{
		Rates: rates, TrustedProxies: proxies,
		Capacity: overload.GaugeConfig{MaxConnections: f.maxConnections, MaxMemory: f.maxMemory},
		Ceilings: f.ceilings, AwarenessClients: f.awareness, AppBytes: f.maxAppBytes, OpsPerMinute: f.opsPerMinute, ClaimsPerSecond: f.claimsPerSecond, Handshakes: f.handshakes,
		Sessions: ratelimit.SessionRates{Messages: f.messages, Bytes: f.bytes, Answers: f.answers},
	}
	return nil
}
