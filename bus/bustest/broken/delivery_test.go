package broken

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold/bus"
)

// deliveryTwists break the sentences about what arrives.
func deliveryTwists() map[string]func() twist {
	return map[string]func() twist{
		"Delivery/Attributes": func() twist {
			return twist{receive: changes(func(_ *source, d *bus.Delivery) { d.TraceState = "" })}
		},
		"Delivery/Headers": func() twist {
			return twist{receive: changes(func(_ *source, d *bus.Delivery) {
				var lower map[string]string
				for k, v := range d.Headers {
					if lower == nil {
						lower = make(map[string]string)
					}
					lower[strings.ToLower(k)] = v
				}
				d.Headers = lower
			})}
		},
		"Delivery/Body": func() twist {
			return twist{receive: changes(func(_ *source, d *bus.Delivery) {
				if !utf8.Valid(d.Body) {
					d.Body = bytes.ToValidUTF8(d.Body, []byte("\uFFFD"))
				}
			})}
		},
		"Delivery/NoBodyIsNotEmpty": func() twist {
			return twist{receive: changes(func(_ *source, d *bus.Delivery) {
				if len(d.Body) == 0 {
					d.Body = nil
				}
			})}
		},
		"Delivery/Keys": func() twist {
			return twist{receive: changes(func(_ *source, d *bus.Delivery) {
				if d.Key == "" {
					d.Key = d.ID
				}
			})}
		},
		"Delivery/Topic": func() twist {
			return twist{receive: changes(func(_ *source, d *bus.Delivery) { d.Topic = "sixfold." + d.Topic })}
		},
	}
}
