package authn_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/wsnode/wsnode/authn"
)

func TestTokenIsTakenFromTheFirstPlaceThatHasOne(t *testing.T) {
	const up = "websocket"
	for name, c := range map[string]struct {
		upgrade   string
		protocols []string
		header    string
		query     string
		noQuery   bool
		want      authn.Credentials
	}{
		"nothing":                        {upgrade: up},
		"subprotocol":                    {upgrade: up, protocols: []string{"access_token, A.B.C"}, want: authn.Credentials{Token: "A.B.C", Subprotocol: "access_token"}},
		"subprotocol Bearer":             {upgrade: up, protocols: []string{"Bearer, A.B.C"}, want: authn.Credentials{Token: "A.B.C", Subprotocol: "Bearer"}},
		"subprotocol in small letters":   {upgrade: up, protocols: []string{"bearer,A.B.C"}, want: authn.Credentials{Token: "A.B.C", Subprotocol: "bearer"}},
		"subprotocol on two lines":       {upgrade: up, protocols: []string{"access_token", "A.B.C"}, want: authn.Credentials{Token: "A.B.C", Subprotocol: "access_token"}},
		"subprotocol after another":      {upgrade: up, protocols: []string{"yjs, access_token, A.B.C"}, want: authn.Credentials{Token: "A.B.C", Subprotocol: "access_token"}},
		"subprotocol without token":      {upgrade: up, protocols: []string{"access_token"}, want: authn.Credentials{Subprotocol: "access_token"}},
		"subprotocol without, header":    {upgrade: up, protocols: []string{"access_token"}, header: "Bearer H", want: authn.Credentials{Token: "H", Subprotocol: "access_token"}},
		"only the token as subprotocol":  {upgrade: up, protocols: []string{"A.B.C"}},
		"subprotocol of a plain request": {protocols: []string{"access_token, A.B.C"}, header: "Bearer H", want: authn.Credentials{Token: "H"}},
		"subprotocol before header":      {upgrade: up, protocols: []string{"access_token, S"}, header: "Bearer H", query: "token=Q", want: authn.Credentials{Token: "S", Subprotocol: "access_token"}},
		"header":                         {upgrade: up, header: "Bearer H", want: authn.Credentials{Token: "H"}},
		"header in small letters":        {header: "bearer H", want: authn.Credentials{Token: "H"}},
		"header before query":            {header: "Bearer H", query: "token=Q", want: authn.Credentials{Token: "H"}},
		"header of another scheme":       {header: "Basic H", query: "token=Q", want: authn.Credentials{Token: "Q"}},
		"header without token":           {header: "Bearer", query: "token=Q", want: authn.Credentials{Token: "Q"}},
		"query":                          {upgrade: up, query: "token=Q", want: authn.Credentials{Token: "Q"}},
		"query access_token":             {query: "access_token=Q", want: authn.Credentials{Token: "Q"}},
		"query, both":                    {query: "access_token=R&token=Q", want: authn.Credentials{Token: "Q"}},
		"query, switched off":            {query: "token=Q", noQuery: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/doc", nil)
			r.Header.Set("Upgrade", c.upgrade)
			for _, line := range c.protocols {
				r.Header.Add("Sec-WebSocket-Protocol", line)
			}
			r.Header.Set("Authorization", c.header)
			query, err := url.ParseQuery(c.query)
			if err != nil {
				t.Fatal(err)
			}
			if got := authn.FromRequest(r, query, !c.noQuery); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
