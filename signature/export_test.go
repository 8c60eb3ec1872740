package signature

import "github.com/sixfold-go/sixfold"

// Canonical is what is signed for a signature that Sign has made.
func Canonical(text string, env *sixfold.Envelope, x *Exchange) []byte {
	t, err := parse(text)
	if err != nil {
		panic(err)
	}
	return canonical(&t, env, x)
}

// Reparse reads a signature and writes it again.
func Reparse(text string) (string, error) {
	t, err := parse(text)
	if err != nil {
		return "", err
	}
	return t.String(), nil
}
