def run_on_renode(*a):
    raise SystemExit
