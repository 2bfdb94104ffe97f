# shellcheck shell=bash
# How this machine reaches package registries, for a Debian root that shall reach them in the same way. Sourced.
#
# Mirrors, proxies, certificates and folders of wheels are passed on as they are found, so no address stands in the
# project. What is passed on: apt's sources, keys, passwords and Acquire settings; pip's configuration files and
# PIP_ variables; the usual variables for proxies and certificates; and the local files (a certificate, constraints) and
# folders that all of these name.

# Names of the variables that are passed on, as far as they are set.
host_variables() {
  local proxies='(http|https|ftp|all|no)_proxy|(HTTP|HTTPS|FTP|ALL|NO)_PROXY'
  local certificates='SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO'
  compgen -e | grep -xE "PIP_.*|$proxies|$certificates" || true
}

# The user's own configuration file of pip, where there is one.
user_pip_file() {
  local file
  for file in "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf"; do
    if [[ -f $file ]]; then
      echo "$file"
      return
    fi
  done
}

# Copies a file to the same place under ROOT: copy_into ROOT FILE
copy_into() {
  if [[ -f $2 ]]; then
    mkdir -p "$1$(dirname "$2")"
    cp -L "$2" "$1$2"
  fi
}

# The archive of Debian 12 in apt's sources: the mirror that debootstrap shall take.
host_debian_mirror() {
  apt-get indextargets --format '$(CODENAME) $(LABEL) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
    awk '$1 == "bookworm" && $2 == "Debian" && !found { print $3; found = 1 }'
}

# debootstrap knows proxies from the environment alone.
host_proxy_of_apt() {
  local proxy
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  echo "${proxy:-${http_proxy-}}"
}

# Puts the configuration files of this machine into ROOT: configure_root ROOT
configure_root() {
  local root=$1 part name
  rm -f "$root/etc/apt/sources.list"
  for part in sources.list sources.list.d auth.conf auth.conf.d trusted.gpg trusted.gpg.d keyrings; do
    if [[ -e /etc/apt/$part ]]; then
      cp -rLT "/etc/apt/$part" "$root/etc/apt/$part"
    fi
  done
  cp -rLT /usr/share/keyrings "$root/usr/share/keyrings"
  # Not apt.conf.d itself: its hooks call programs that a bare root does not have.
  apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' > "$root/etc/apt/apt.conf.d/99host"

  # Once as it is, and once where ca-certificates finds it when that package is installed and writes its own.
  copy_into "$root" /etc/ssl/certs/ca-certificates.crt
  if [[ -f /etc/ssl/certs/ca-certificates.crt ]]; then
    mkdir -p "$root/usr/local/share/ca-certificates"
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/usr/local/share/ca-certificates/host.crt"
  fi

  copy_into "$root" /etc/pip.conf
  copy_into "$root" /etc/xdg/pip/pip.conf
  for part in root etc/skel; do # root's home, and what useradd puts into a new one
    if [[ -n $(user_pip_file) ]]; then
      install -D -m 600 "$(user_pip_file)" "$root/$part/.config/pip/pip.conf" # it may hold a password
    fi
  done

  host_paths | while read -r name; do
    copy_into "$root" "$name"
  done
}

# Prints the absolute paths that the variables above and pip's configuration files name, one a line.
host_paths() {
  local name
  {
    for name in $(host_variables); do echo "${!name}"; done
    cat /etc/pip.conf /etc/xdg/pip/pip.conf "$(user_pip_file)" "${PIP_CONFIG_FILE-}" 2>/dev/null || true
  } | tr ' =,' '\n' | sed -n 's#^file://##; /^\//p' | sort -u
}

# Prints the local folders that pip's configuration names and that exist here, one a line.
host_wheel_folders() {
  local path
  host_paths | while read -r path; do
    if [[ -d $path ]]; then
      # An index of files lies in a folder `simple`, and the files that it links to beside it.
      if [[ $(basename "$path") == simple ]]; then dirname "$path"; else echo "$path"; fi
    fi
  done | sort -u
}
