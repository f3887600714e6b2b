// Package closecode is the one table of WebSocket close codes: what each means,
// what a client should do about it, its HTTP answer, and what an operator looks
// at. The tables of docs/protocol.md, docs/clients.md and docs/operations.md and
// the client package's codes.js are written from it: go generate ./relay/closecode.
package closecode

//go:generate go run ./generate

// The codes. Below 4000 they are those of RFC 6455, section 7.4.1; from 4000 the
// service's own. y-websocket comes back after every code but 4400 to 4499, which
// are therefore used only where coming back cannot help.
const (
	Protocol    = 1002
	Text        = 1003
	Lost        = 1006 // never sent: what a client sees of a lost connection
	Malformed   = 1007
	Silent      = 1008
	TooLarge    = 1009
	Restart     = 1012
	TryAgain    = 1013
	NoToken     = 4001
	Token       = 4002
	Forbidden   = 4003
	Connections = 4004
	Documents   = 4005
	Rate        = 4006
	Name        = 4007
	Users       = 4008
	Redirect    = 4009
	Kicked      = 4403
	Deleted     = 4404
	Unsupported = 4415
)

// Reasons that are the same for every close of their code.
const (
	ReasonRestart  = "Service restart"
	ReasonTryAgain = "Try again later"
	ReasonNoToken  = "Missing token"
	ReasonName     = "Invalid document name"
	ReasonDeleted  = "Document deleted"
)

// Action is what a client should do after a close.
type Action string

// The actions.
const (
	Stop   Action = "stop"     // coming back cannot help
	Full   Action = "full"     // a limit of the app is reached: stop, and offer to try again
	Renew  Action = "renew"    // get a new token, once
	Follow Action = "redirect" // connect to the URL in the reason
	Retry  Action = "retry"    // come back, each time later
)

// Entry is what is to be known of a code.
type Entry struct {
	Code   int
	Reason string // as sent, in Markdown; capitals stand for what varies
	When   string // for those who write clients

	Action Action
	Wait   int    // before a first Retry, in milliseconds; 0: as after a lost connection
	Client string // what a client should do, in words

	Status int    // of the HTTP answer to the same condition; 0: none
	Kind   string // the machine-readable error of that answer

	Operator string // what an operator looks at
}

// Table holds all codes, in the order of the documents.
var Table = []Entry{
	{
		Code: NoToken, Reason: "`" + ReasonNoToken + "`", When: "no token",
		Action: Stop, Client: "stops; the user signs in",
		Status: 401, Kind: "missing_token",
		Operator: "the application sends no token: `wsctl token inspect` shows what a good one holds",
	},
	{
		Code: Token, Reason: "`Invalid token: ` and `expired`, `not yet valid`, `malformed`, `too long`, `algorithm` and its name, `signature`, `issuer`, `audience`, `scope` or `claims: NAME`", When: "the token is refused",
		Action: Renew, Client: "gets a new token and comes back, once",
		Status: 401, Kind: "invalid_token",
		Operator: "the application's token: `wsctl token inspect --jwks-url …`. `algorithm …`: it is signed in a way that the nodes do not take: by a secret where they have a key set, or the other way round; `signature: no … key …`: the issuer rotated its key, or `--jwks-url` is another issuer's; `signature: wrong`: it put another key under a `kid` that the nodes know, which they fetch again within 5 minutes",
	},
	{
		Code: Forbidden, Reason: "`Forbidden: origin`, `: license region`, `: document`", When: "the token does not reach so far",
		Action: Stop, Client: "stops",
		Status: 403, Kind: "forbidden",
		Operator: "`Origin`, the `documents` claim, or a `dbCode` that this deployment does not serve",
	},
	{
		Code: Connections, Reason: "`Connection limit exceeded: LIMIT`", When: "connections of the app",
		Action: Full, Client: "stops, offers \"try again\"",
		Status: 429, Kind: "limit_exceeded",
		Operator: "the plan's limit; `wsctl trace` says how much is in use",
	},
	{
		Code: Documents, Reason: "`Document limit exceeded: LIMIT (active: COUNT)`", When: "open documents of the app",
		Action: Full, Client: "stops, offers \"try again\"",
		Status: 429, Kind: "limit_exceeded",
		Operator: "the plan's limit; `wsctl trace` says how much is in use",
	},
	{
		Code: Rate, Reason: "`Rate limit exceeded: LIMIT ops/min`", When: "operations of the app in a minute, during a session; the last one was applied",
		Action: Retry, Wait: 5000, Client: "waits some seconds",
		Operator: "`opsPerMinute`",
	},
	{
		Code: Name, Reason: "`" + ReasonName + "`", When: "the name holds what a URL would change",
		Action: Stop, Client: "stops",
		Status: 400, Kind: "invalid_document_name",
		Operator: "the name holds what a URL would change: `?`, `#`, `%`, `\\`",
	},
	{
		Code: Users, Reason: "`Document user limit exceeded: LIMIT`", When: "sessions of the document",
		Action: Full, Client: "stops, offers \"try again\"",
		Status: 429, Kind: "limit_exceeded",
		Operator: "the plan's limit; `wsctl trace` says how much is in use",
	},
	{
		Code: Redirect, Reason: "`REDIRECT:` and a URL", When: "the document lives in another region, or moved there during the session",
		Action: Follow, Client: "connects to that URL at once",
		Status: 421, Kind: "redirect",
		Operator: "again and again: the region's URL is wrong or does not lead to that region: `wsctl regions list`, `wsctl discover`",
	},
	{
		Code: Kicked, Reason: "the operator's", When: "an operator ended the session for good (`wsctl sessions kick --permanent`; any code from 4400 to 4499 may be chosen)",
		Action: Stop, Client: "stops",
		Operator: "a colleague: `wsctl sessions kick --permanent`",
	},
	{
		Code: Deleted, Reason: "`" + ReasonDeleted + "`", When: "the document was deleted from its store",
		Action: Stop, Client: "stops; what it has is of a document that is no more",
		Status: 410, Kind: "deleted",
		Operator: "somebody deleted the document; clients that were away learn it when they come back",
	},
	{
		Code: Unsupported, Reason: "`Unsupported content: ` and what it is, `Unsupported protocol: ` and which", When: "content or a protocol that this server cannot take: weak links and moves of Yrs, values nested over 200 levels, a provider of Hocuspocus 2 without a token; the rest of such an update was taken",
		Action: Stop, Client: "stops; its user needs a document without that content, or its application another provider",
		Operator: "a client of Yrs, or a Hocuspocus provider: the log line of the session's end says what it was and where",
	},
	{
		Code: Protocol, Reason: "what is wrong", When: "no correct WebSocket frame",
		Action: Retry, Client: "comes back; has a fault to be mended",
		Operator: "a proxy or a client that does not speak WebSocket",
	},
	{
		Code: Text, Reason: "what is wrong", When: "a text frame; like 1007, 1009 and 4006 it comes some seconds late, while nothing more is taken",
		Action: Stop, Client: "stops",
		Operator: "a client that speaks something else: Yjs messages are binary",
	},
	{
		Code: Malformed, Reason: "what is wrong and where", When: "a malformed message or Yjs update, which nobody else received",
		Action: Stop, Client: "stops",
		Operator: "a client whose bytes are no message or no Yjs update; the log line of the session's end says what is wrong and where (`offset`, `cause`, `message`)",
	},
	{
		Code: Silent, Reason: "`No message within 30 s`, `Message too slow: expected 64 KiB in 30 s`", When: "a client that says nothing after its handshake, or whose message comes more slowly than that",
		Action: Retry, Client: "comes back; has a fault to be mended",
		Operator: "a client or a probe that opens sockets and says nothing, or a message that stopped half way",
	},
	{
		Code: TooLarge, Reason: "the limit", When: "a message, an update or the document is too large",
		Action: Stop, Client: "stops",
		Operator: "the reason names the limit: `--max-message-bytes`, `--max-document-bytes`, `--max-app-bytes`, or one of those for a single update",
	},
	{
		Code: Restart, Reason: "`" + ReasonRestart + "`", When: "the node drains, or was frozen and the document lives anew",
		Action: Retry, Wait: 1000, Client: "comes back within a second",
		Status: 503, Kind: "unavailable",
		Operator: "the node drains, or it lost its lease and the document has begun another life meanwhile",
	},
	{
		Code: TryAgain, Reason: "`" + ReasonTryAgain + "`", When: "overloaded, or a registry, NATS or the issuer cannot be asked",
		Action: Retry, Wait: 1000, Client: "waits, with jitter; may try another region",
		Status: 503, Kind: "unavailable",
		Operator: "overloaded, or the registry or the issuer cannot be asked: DETAIL says which; of a session that was admitted: a large upload while others filled `--max-incoming-bytes`, or its app its share of it",
	},
	{
		Code: Lost, Reason: "(none was sent)", When: "the connection was lost, or the handshake answered 429",
		Action: Retry, Client: "waits, with jitter",
		Operator: "the handshake never arrived: balancer, TLS, proxy; or 429: too many refused handshakes from this address or with this token, which ends by itself a minute after they end; good tokens still get in from there. If most clients have the address of a proxy, and `wsnode_unheeded_forwards_total` rises, name it by `--trusted-proxy`",
	},
}

// Of returns what is to be known of a code. A code that is not in the table, such
// as an operator's own, is one to come back after, but for those that y-websocket
// stops at.
func Of(code int) Entry {
	for _, e := range Table {
		if e.Code == code {
			return e
		}
	}
	if Permanent(code) {
		return Entry{Code: code, Action: Stop}
	}
	return Entry{Code: code, Action: Retry}
}

// Permanent reports whether y-websocket by itself stays away after the code.
func Permanent(code int) bool { return code >= 4400 && code <= 4499 }

// Sendable reports whether an operator may end a session with the code.
func Sendable(code int) bool {
	return code == Restart || code == TryAgain || code >= 4000 && code <= 4999
}
