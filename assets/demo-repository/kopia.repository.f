{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "0.23.1",
  "buildInfo": "module",
  "uniqueID": "CoR5gPnk+3ycwkwlGwMMzOTYIVe8qDsDxefMNGSA+3s=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "tB1/7EVm/v3Wwv9gBtUVVcGM+ihHSLuNYTqPUheaJa4d232E30VsnpRRC9PnJ8FpIFnCUdI9C4amPrXtfGNRroobnCfkbz+1YoZ7/azKeW1OM7aM2+Y7p2mWI72MwRgRLjMwK8CGrCP+67PtIZJjdrnOPC21NsTBkF/+r9XdtJ16xSY6nW3xiqvyNwfeTOQ7ZlsqOxS6u4b846g/q19IYY9oPYgK7D917D4X6ORDPvcMBv+hoysVW+fusP0miIt3XBmY7EjuTCVF8DqTkl95s+SZN0vtxfRTcXjcnnUIPQ9wOVoLBa1Zjkktwc9VBrk6U002rvngvIpTAwOPTLRWvF99sOApDTE/rudDyBszjFOzZdYqZCFByhqRozfl90Z3C9lyg56+gBiCarVxHRKBuab+zSP/QN+qUGz759Wq6nrNahjDW/Uft5zKTyMubpxuSCpcWKuBQBe7owz7iNT4poEk/jD4fnnQAq867Nrd7O2R9YIJfaFs+cKhFxWdw2EVzlhsl3PZovwS196QxlRotJj5rCPEm+agP2RfCxWOiqjU3tQ5NefAeOfj29AneDQ7Ou3x/1XqoLszKwJNwfcuDQ6Q6JyvHxaREpRQm6O6mmm9zLkqRo+J3iOwP/e7QOjLBPNWQpn87YytSrDGYHAIfn86DsmWb/KkaP8vYFDTa4dDUrmsIMtYKOhT7B2YYgfFea3x2iCea60qMhoLy/EZQWbPrrOynC+KX6V0EpTrw5Nd1gQ6GYhB3o0+gwmgLapGddQrcQFlbA78b53BGvCHaxodr7jagXUgHEPDK/F9zA=="
}
