// The SSH server's host key, from the form the seed has it in to the form the server reads.
#pragma once

// Writes dropbear's key file from an unencrypted Ed25519 key in OpenSSH's PEM format. Null or the reason.
const char *write_host_key(const char *pem, const char *path);
