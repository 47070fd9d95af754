package main

import (
	"os"
	"os/user"
	"strconv"
	"strings"
)

// localUser is who runs this process, as the operating system says and never the
// environment: by $USER one user would be several people. The name is the account's;
// a full name is what somebody may write there themselves.
func localUser() (subject, name string) {
	u, err := osUser()
	if err != nil {
		return "uid " + strconv.Itoa(os.Getuid()), "an unknown user"
	}
	return u.Username + " (uid " + u.Uid + ")", u.Username
}

// osUser is the user of this process.
func osUser() (*user.User, error) {
	if !namedByEnv {
		return user.Current()
	}
	raw, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	return inPasswd(string(raw), os.Getuid())
}

// inPasswd finds a user by number in the text of /etc/passwd.
func inPasswd(text string, uid int) (*user.User, error) {
	id := strconv.Itoa(uid)
	for line := range strings.Lines(text) {
		f := strings.Split(line, ":")
		if len(f) < 7 || f[2] != id || f[0] == "" || strings.ContainsAny(f[0][:1], "#+-") {
			continue
		}
		return &user.User{Uid: id, Username: f[0]}, nil
	}
	return nil, user.UnknownUserIdError(uid)
}
