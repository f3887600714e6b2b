package relay

import (
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/live"
)

// api answers plain requests. None takes anything up: no document is opened or pinned for
// it, no place is taken in the limits of an app, and nothing is left of it when it has been
// answered but a count for its address, and, of one that was refused, what operators may be
// asked about.
type api struct {
	cfg    *Config
	log    *slog.Logger
	gate   *gate
	homes  *homes
	docs   *live.Documents
	recent *recent
	health *health
}

// ServeHTTP takes everything that a client sends. A WebSocket upgrade is a
// document, whatever its path; a plain request is for the API. There are no
// redirects and no path cleaning: a name is what the client sent.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if isUpgrade(r) {
		n.connect(w, r)
		return
	}
	n.api.serve(w, r)
}

func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	allowPages(h)
	path, _, _ := strings.Cut(r.RequestURI, "?")
	answers := a.endpoint(path)
	address := a.gate.address(r)
	switch {
	case answers == nil:
		writeError(w, http.StatusNotFound, "not_found", "No such endpoint; documents are opened by WebSocket")
	case r.Method == http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Authorization")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, OPTIONS")
		writeError(w, http.StatusMethodNotAllowed, "method_not_allowed", "Only GET is allowed here")
	case !a.gate.allowed(path, address):
		a.tooManyRequests(w, r, address, "too many requests of this kind from this address")
	default:
		answers(w, r, address)
	}
}

func allowPages(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Retry-After")
}

// starting is a handler for the time before there is a Node.
func starting(w http.ResponseWriter, r *http.Request, version string) {
	allowPages(w.Header())
	if r.URL.Path == "/" || r.URL.Path == "/health" {
		writeHealth(w, version, "degraded", http.StatusServiceUnavailable)
		return
	}
	setRetryAfter(w)
	writeError(w, http.StatusServiceUnavailable, "unavailable", "Starting")
}

// endpoint answers a request of a client at the address, which limits count by.
type endpoint func(w http.ResponseWriter, r *http.Request, address netip.Addr)

func (a *api) endpoint(path string) endpoint {
	switch path {
	case "/", "/health":
		return a.balancers
	case "/usage":
		return a.usage
	case "/discovery":
		return a.discovery
	case "/regions":
		return a.regions
	}
	return nil
}

func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// discovery says where a document lives, or where it had best be opened. It
// creates no pin.
func (a *api) discovery(w http.ResponseWriter, r *http.Request, address netip.Addr) {
	query := docid.ParseQuery(r.URL.RawQuery)
	credentials := authn.FromRequest(r, query, !a.cfg.NoQueryToken)
	met := a.gate.standing(address, credentials.Token)
	switch {
	case met == blocked:
		a.tooManyRequests(w, r, address, blockedDetail)
		return
	case !a.gate.admits(address):
		a.tooManyRequests(w, r, address, fullDetail)
		return
	}
	grant, err := a.gate.verify(r.Context(), credentials.Token, a.gate.caller(address, nil))
	if err != nil {
		a.refuseDiscovery(w, r, address, credentials.Token, met, err)
		return
	}
	asked := query.Get("documentName")
	name, err := docid.Parse(asked)
	if err == nil && name != asked {
		a.log.Debug("a document's name is folded", "asked", asked, "name", name, "tenant", grant.Tenant, "app", grant.App)
	}
	if err == nil {
		if _, granted := grant.Access(name); !granted {
			err = errDocument
		}
	}
	var region docid.Region
	var isNew bool
	if err == nil {
		region, isNew, err = a.homes.locate(r.Context(), grant.Document(name), docid.Region(grant.RegionCode), a.docs)
	}
	var url string
	if err == nil {
		url, err = a.cfg.Registry.RegionURL(r.Context(), region)
	}
	if err != nil {
		a.refuseDiscovery(w, r, address, credentials.Token, met, err)
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
func (a *api) refuseDiscovery(w http.ResponseWriter, r *http.Request, address netip.Addr, token string, met standing, err error) {
	if a.gate.blames(address, token, err) && met == suspect {
		a.tooManyRequests(w, r, address, blockedDetail)
		return
	}
	a.writeRefusal(w, r, address, err)
}

// regions lists the regions that are known, as data.
func (a *api) regions(w http.ResponseWriter, r *http.Request, address netip.Addr) {
	known, err := a.cfg.Registry.Regions(r.Context())
	if err != nil {
		a.writeRefusal(w, r, address, err)
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
	}{list, a.cfg.Registry.LicenseRegions()})
}

// balancers tells them whether to send clients here.
func (a *api) balancers(w http.ResponseWriter, _ *http.Request, _ netip.Addr) {
	status, code := a.health.forBalancers()
	writeHealth(w, a.cfg.Version, status, code)
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

func (a *api) writeRefusal(w http.ResponseWriter, r *http.Request, address netip.Addr, err error) {
	said := answer(err)
	if said.status == http.StatusServiceUnavailable {
		setRetryAfter(w)
	}
	a.recent.request(r, remote(r, address), said.status, said.reason, err.Error())
	writeError(w, said.status, said.kind, said.reason)
}

// tooManyRequests refuses a client that comes too often.
func (a *api) tooManyRequests(w http.ResponseWriter, r *http.Request, address netip.Addr, why string) {
	a.recent.request(r, remote(r, address), http.StatusTooManyRequests, tooOften, why)
	tooMany(w)
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
