package cli

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/sixfold-go/sixfold/transport/sqs"
)

// sqsHow says what the URL of SQS looks like.
const sqsHow = "write sqs://eu-central-1, sqs://eu-central-1/123456789012 for one account only, or sqs://eu-central-1?endpoint=http://127.0.0.1:4566"

// sqsURL is what sqs://REGION/ACCOUNT?… says. It never has credentials: those come from AWS's own places.
type sqsURL struct {
	o       sqs.Options
	account string // that the credentials have to be of; empty: any
	host    string // of the endpoint, where it is not encrypted
}

// parseSQS reads such a URL. Its errors show of it what cannot be a secret.
func parseSQS(text string) (u sqsURL, err error) {
	text = strings.TrimSpace(text)
	if _, rest, _ := strings.Cut(text, "://"); strings.Contains(strings.SplitN(rest, "?", 2)[0], "@") {
		return u, usage("the URL of the broker has a user or a password, and SQS takes credentials from AWS's own places", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role, and "+sqsHow)
	}
	parsed, perr := url.Parse(text)
	if perr != nil {
		return u, usage("the URL of the broker cannot be read", sqsHow)
	}
	if u.o.Region = parsed.Host; strings.ContainsAny(parsed.Host, ".:[") {
		return u, usage("the URL of the broker has the host "+quote(parsed.Host)+" where the region belongs", sqsHow)
	}
	u.account = strings.Trim(parsed.Path, "/")
	if u.account != "" && !isAccount(u.account) {
		return u, usage("the URL of the broker has the account "+quote(u.account)+", which is not twelve digits", sqsHow)
	}
	query, perr := url.ParseQuery(parsed.RawQuery)
	if perr != nil {
		return u, usage("the parameters of the broker's URL cannot be read", sqsHow)
	}
	for name, values := range query {
		value := values[len(values)-1]
		var yes *bool
		switch name {
		case "endpoint":
			u.o.Endpoint = value
			if at, err := url.Parse(value); err == nil && at.Scheme == "http" && !loopback(at.Hostname()) {
				u.host = at.Host
			}
		case "prefix":
			u.o.Prefix = value
		case "standard":
			yes = &u.o.Standard
		case "point_to_point":
			yes = &u.o.PointToPoint
		default:
			return u, usage("the URL of the broker has the unknown parameter "+quote(name), "there are endpoint, prefix, standard and point_to_point; credentials come from AWS's own places")
		}
		if yes != nil {
			if *yes, perr = strconv.ParseBool(value); perr != nil {
				return u, usage("the parameter "+name+" of the broker's URL is "+quote(value), "write "+name+"=true, or leave it out")
			}
		}
	}
	return u, nil
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }
