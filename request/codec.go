package request

import (
	"fmt"
	"mime"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// codecOf finds the codec of a content type among cs. JSON is always known. Nil: there is none.
func codecOf(cs []sixfold.Codec, contentType string) sixfold.Codec {
	media := contentType
	if media == "" {
		media = "application/json"
	}
	if media != "application/json" {
		var err error
		if media, _, err = mime.ParseMediaType(contentType); err != nil {
			return nil
		}
	}
	for _, c := range cs {
		if strings.EqualFold(c.ContentType(), media) {
			return c
		}
	}
	if media == "application/json" || strings.HasSuffix(media, "+json") {
		return sixfold.JSON
	}
	return nil
}

// decodeBody decodes the body of a reply. One without a body stands for the zero result, as an answer of nothing is.
func decodeBody(cs []sixfold.Codec, env *sixfold.Envelope, result any) error {
	if env.Body == nil {
		return nil
	}
	c := codecOf(cs, env.ContentType)
	if c == nil {
		return fmt.Errorf("no codec for content type %.64q; give one in ClientOptions.Codecs", env.ContentType)
	}
	return c.Unmarshal(env.Body, result)
}

func tooLarge(size, most int) error {
	return fmt.Errorf("%w: a body of %d bytes, the lane's limit is %d; send less, or a reference to it", bus.ErrTooLarge, size, most)
}

// quoteless keeps of a text from the wire what a list of versions may hold.
func quoteless(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == ',' || r == ' ' {
			return r
		}
		return -1
	}, s)
}
