package relay

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

// ServeHTTP takes everything that a client sends. A WebSocket upgrade is a
// document, whatever its path; a plain request is for the API. There are no
// redirects and no path cleaning: a name is what the client sent.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if isUpgrade(r) {
		n.connect(w, r)
		return
	}
	h := w.Header()
	allowPages(h)
	path, _, _ := strings.Cut(r.RequestURI, "?")
	endpoint := n.endpoint(path)
	address := n.address(r)
	switch {
	case endpoint == nil:
		writeError(w, http.StatusNotFound, "not_found", "No such endpoint; documents are opened by WebSocket")
	case r.Method == http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Authorization")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, OPTIONS")
		writeError(w, http.StatusMethodNotAllowed, "method_not_allowed", "Only GET is allowed here")
	case !n.allowed(path, address):
		n.tooManyRequests(w, r, "too many requests of this kind from this address")
	default:
		endpoint(w, r)
	}
}

func allowPages(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Retry-After")
}

// Starting is a handler for the time before there is a Node.
func Starting(w http.ResponseWriter, r *http.Request, version string) {
	allowPages(w.Header())
	if r.URL.Path == "/" || r.URL.Path == "/health" {
		writeHealth(w, version, "degraded", http.StatusServiceUnavailable)
		return
	}
	setRetryAfter(w)
	writeError(w, http.StatusServiceUnavailable, "unavailable", "Starting")
}

// allowed counts a request for what has a rate of its own.
func (n *Node) allowed(path string, address netip.Addr) bool {
	rates := n.gate.rates
	switch {
	case rates == nil:
		return true
	case path == "/" || path == "/health":
		return rates.Health.Take(address)
	case path == "/usage":
		return rates.Usage.Take(address)
	}
	return true
}

func (n *Node) endpoint(path string) http.HandlerFunc {
	switch path {
	case "/", "/health":
		return n.health
	case "/usage":
		return n.usage
	case "/discovery":
		return n.discovery
	case "/regions":
		return n.regions
	}
	return nil
}

func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// discovery says where a document lives, or where it had best be opened. It
// creates no pin.
func (n *Node) discovery(w http.ResponseWriter, r *http.Request) {
	query := docid.ParseQuery(r.URL.RawQuery)
	credentials := authn.FromRequest(r, query, !n.cfg.NoQueryToken)
	address := ratelimit.ClientIP(r, n.gate.limits.TrustedProxies)
	met := n.standing(address, credentials.Token)
	switch {
	case met == blocked:
		n.tooManyRequests(w, r, blockedDetail)
		return
	case !n.gate.admits(address):
		n.tooManyRequests(w, r, fullDetail)
		return
	}
	grant, err := n.verify(r.Context(), credentials.Token, n.gate.caller(address, nil))
	if err != nil {
		n.refuseDiscovery(w, r, address, credentials.Token, met, err)
		return
	}
	asked := query.Get("documentName")
	name, err := docid.Parse(asked)
	if err == nil && name != asked {
		n.log.Debug("a document's name is folded", "asked", asked, "name", name, "tenant", grant.Tenant, "app", grant.App)
	}
	if err == nil {
		if _, granted := grant.Access(name); !granted {
			err = errDocument
		}
	}
	var region docid.Region
	var isNew bool
	if err == nil {
		region, isNew, err = n.locate(r, grant, grant.Document(name))
	}
	var url string
	if err == nil {
		url, err = n.cfg.Registry.RegionURL(r.Context(), region)
	}
	if err != nil {
		n.refuseDiscovery(w, r, address, credentials.Token, met, err)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Region docid.Region `json:"region"`
		URL    string       `json:"url"`
		IsNew  bool         `json:"isNew"`
	}{region, documentURL(url, name), isNew})
}

// refuseDiscovery answers a failed discovery, and counts it if it is the client's
// doing.
func (n *Node) refuseDiscovery(w http.ResponseWriter, r *http.Request, address netip.Addr, token string, met standing, err error) {
	if counts(err) {
		n.gate.rates.Refuse(address, token)
		if met == suspect {
			n.tooManyRequests(w, r, blockedDetail)
			return
		}
	}
	n.writeRefusal(w, r, err)
}

// locate returns the region of a document. Of one that nobody has open it is the
// token's preference if that region is live, else this node's own, unless that is evacuated. What a region
// left behind that is gone as a whole, nobody has open: the next client takes it
// over, wherever it comes.
func (n *Node) locate(r *http.Request, grant *authn.Grant, doc docid.Document) (region docid.Region, isNew bool, err error) {
	pin, state, err := n.cfg.Registry.Lookup(r.Context(), doc)
	switch {
	case errors.Is(err, kvpin.ErrUnavailable):
		if _, here, _ := n.docs.Who(r.Context(), doc); here {
			return n.cfg.Region, false, nil
		}
		return "", false, err
	case err != nil:
		return "", false, err
	case !n.settings(doc.AppID()).In(n.cfg.Region), state != kvpin.Free && !n.settings(doc.AppID()).In(pin.Region):
		region, err = n.residence(r.Context(), doc, docid.Region(grant.RegionCode))
		return region, state == kvpin.Free || region != pin.Region, err
	case state == kvpin.Free || (state == kvpin.Orphaned || state == kvpin.Owed) && !n.live(r.Context(), pin.Region):
		preferred := docid.Region(grant.RegionCode)
		if preferred == "" || !n.settings(doc.AppID()).In(preferred) || !n.live(r.Context(), preferred) {
			preferred = n.cfg.Region
		}
		if preferred == n.cfg.Region && n.cfg.Registry.Evacuated(doc.License) {
			preferred, err = n.residence(r.Context(), doc, "")
		}
		return preferred, true, err
	}
	return pin.Region, false, nil
}

// live reports whether clients may be sent to a region, as far as is known.
func (n *Node) live(ctx context.Context, region docid.Region) bool {
	if region == n.cfg.Region {
		return true
	}
	known, err := n.cfg.Registry.Regions(ctx)
	return err == nil && slices.ContainsFunc(known, func(k kvpin.RegionInfo) bool {
		return k.Region == region && k.Status == kvpin.RegionLive
	})
}

// regions lists the regions that are known, as data.
func (n *Node) regions(w http.ResponseWriter, r *http.Request) {
	known, err := n.cfg.Registry.Regions(r.Context())
	if err != nil {
		n.writeRefusal(w, r, err)
		return
	}
	type region struct {
		Region docid.Region       `json:"region"`
		URL    string             `json:"url"`
		Status kvpin.RegionStatus `json:"status"`
	}
	list := make([]region, 0, len(known))
	for _, k := range known {
		list = append(list, region{k.Region, k.URL, k.Status})
	}
	writeJSON(w, http.StatusOK, struct {
		Regions        []region              `json:"regions"`
		LicenseRegions []docid.LicenseRegion `json:"licenseRegions"`
	}{list, n.cfg.Registry.LicenseRegions()})
}

// health tells balancers whether to send clients here. Without a registry live
// documents go on, so pulling every pod would do harm; without NATS nothing does.
// unsavedTooLong is the age of an unacknowledged edit from which on a node says that
// something is wrong: many times what a change of the stream's leader takes.
const unsavedTooLong = 30 * time.Second

func (n *Node) health(w http.ResponseWriter, _ *http.Request) {
	status, code := "healthy", http.StatusOK
	if n.rooms.Unsaved() > unsavedTooLong || n.cfg.stores.down() {
		status = "degraded"
	}
	for _, license := range n.cfg.Registry.LicenseRegions() {
		if !n.cfg.Registry.Reachable(license) {
			status = "degraded"
		}
	}
	switch {
	case n.unready.Load() || !n.cfg.Bus.Connected() || n.Apart() != nil:
		status, code = "degraded", http.StatusServiceUnavailable
	case n.gate.gauge.Overloaded():
		status, code = "overloaded", http.StatusServiceUnavailable
	}
	writeHealth(w, n.cfg.Version, status, code)
}

func writeHealth(w http.ResponseWriter, version, status string, code int) {
	if code != http.StatusOK {
		setRetryAfter(w)
	}
	writeJSON(w, code, struct {
		Status    string `json:"status"`
		Timestamp string `json:"timestamp"`
		Version   string `json:"version,omitempty"`
	}{status, time.Now().UTC().Format(time.RFC3339), version})
}

// setRetryAfter says when to ask again after a passing trouble, in seconds:
// jittered, so that those who were refused together come back apart.
func setRetryAfter(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(4)))
}

func (n *Node) writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	a := answer(err)
	if a.status == http.StatusServiceUnavailable {
		setRetryAfter(w)
	}
	n.remember(r, a.status, a.reason, err.Error())
	writeError(w, a.status, a.kind, a.reason)
}

// tooManyRequests refuses a client that comes too often.
func (n *Node) tooManyRequests(w http.ResponseWriter, r *http.Request, why string) {
	n.remember(r, http.StatusTooManyRequests, tooOften, why)
	tooMany(w)
}

// remember notes a refusal for operators.
func (n *Node) remember(r *http.Request, status int, reason, detail string) {
	client := remote(r, ratelimit.ClientIP(r, n.gate.limits.TrustedProxies))
	n.recent.refuse(control.Refusal{
		Code: status, Reason: reason, Detail: detail, Request: strings.TrimPrefix(r.URL.Path, "/"),
		Remote: client, UserAgent: r.UserAgent(), Origin: r.Header.Get("Origin"),
		Document: control.Document{Name: withoutTokens(docid.ParseQuery(r.URL.RawQuery).Get("documentName"))},
	})
	n.log.Debug("refused", "path", r.URL.Path, "status", status, "reason", reason, "remote", client, "err", detail)
}

func writeError(w http.ResponseWriter, status int, kind, message string) {
	writeJSON(w, status, struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}{kind, message})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // the client may have gone
}
