/** Loads the addon. @throws Error that says in one line what was tried */
declare function load(): unknown;
export = load;
