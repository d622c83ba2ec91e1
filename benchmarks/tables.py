def update(a, b):
    pass
